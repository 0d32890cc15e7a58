package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStartService proves that nobody is told to use a systemd that is not there.
func TestStartService(t *testing.T) {
	root := t.TempDir() + "/"
	for _, step := range []struct{ add, want string }{
		{"", "start its service incus: this host has no systemd that could"},
		{"etc/init.d/incus", "service incus start"},
		{"run/systemd/system", "systemctl start incus"},
	} {
		if step.add != "" {
			if err := os.MkdirAll(filepath.Join(root, step.add), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if got := startService(root, "incus"); got != step.want {
			t.Errorf("with %q: got %q, want %q", step.add, got, step.want)
		}
	}
}
