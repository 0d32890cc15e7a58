//go:build linux

package qemu

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// qemu-img must find our overlays flawless and understand them as we meant them.
func TestOverlayIsWhatQemuImgExpects(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		skip(t, err.Error())
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "base.raw"), []byte(strings.Repeat("a", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"small": 1 << 20, "odd": 3<<30 + 512, "largest": maxDisk} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name+".qcow2")
			if err := createOverlay(path, "base.raw", "raw", size); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("qemu-img", "check", path).CombinedOutput(); err != nil {
				t.Errorf("check: %v: %s", err, out)
			}
			out, err := exec.Command("qemu-img", "info", "--output=json", path).Output()
			if err != nil {
				t.Fatal(err)
			}
			var info struct {
				Size    int64  `json:"virtual-size"`
				Actual  int64  `json:"actual-size"`
				Backing string `json:"full-backing-filename"`
				Format  string `json:"backing-filename-format"`
			}
			if err := json.Unmarshal(out, &info); err != nil {
				t.Fatal(err)
			}
			if info.Size != size || info.Backing != filepath.Join(dir, "base.raw") || info.Format != "raw" || info.Actual > 256<<10 {
				t.Errorf("got %+v, want %d bytes over base.raw", info, size)
			}
		})
	}
}

// What is written through our tables must be read back, and the backing file
// shine through where nothing was written.
func TestOverlayHoldsWrites(t *testing.T) {
	if _, err := exec.LookPath("qemu-io"); err != nil {
		skip(t, err.Error())
	}
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base.raw"), filepath.Join(dir, "top.qcow2")
	if err := os.WriteFile(base, []byte(strings.Repeat("a", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := createOverlay(top, base, "raw", 4<<30); err != nil {
		t.Fatal(err)
	}
	io := func(commands ...string) {
		t.Helper()
		args := []string{"-f", "qcow2", top}
		for _, c := range commands {
			args = append([]string{"-c", c}, args...)
		}
		if out, err := exec.Command("qemu-io", args...).CombinedOutput(); err != nil || strings.Contains(string(out), "failed") {
			t.Errorf("%v: %v: %s", commands, err, out)
		}
	}
	io("write -P 0x42 64k 64k")
	io("write -P 0x43 3G 1M")
	io("read -P 0x61 0 64k")
	io("read -P 0x42 64k 64k")
	io("read -P 0x43 3G 1M")
	io("read -P 0 2G 64k")
}

func TestOverlayRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := createOverlay(filepath.Join(dir, "a"), "b", "raw", maxDisk+1); err == nil {
		t.Error("a disk of over 4 TiB was made")
	}
	if err := createOverlay(filepath.Join(dir, "a"), strings.Repeat("b", 1024), "raw", 1<<20); err == nil {
		t.Error("a backing path of 1024 bytes was accepted")
	}
	if err := os.WriteFile(filepath.Join(dir, "there"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := createOverlay(filepath.Join(dir, "there"), "b", "raw", 1<<20); !os.IsExist(err) {
		t.Errorf("got %v, want a refusal to overwrite", err)
	}
}
