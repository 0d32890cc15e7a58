package lima

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestInstaller proves that Homebrew is proposed only where it is.
func TestInstaller(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("a Mac without Homebrew gets it first")
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got := installer(); strings.Contains(got, "brew") {
		t.Errorf("got %q, want a way without brew", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "brew"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := installer(); runtime.GOOS == "linux" && got != "brew install lima" {
		t.Errorf("got %q, want brew's", got)
	}
}
