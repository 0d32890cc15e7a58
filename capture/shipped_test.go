//go:build linux

package capture

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"assay/vm"
)

// lookLater reads a disk as one that was read before, when all of it was otherwise.
func lookLater(t *testing.T, image string) map[string]Record {
	t.Helper()
	d, err := openLayers([]vm.Layer{{ID: "a", Path: image, Format: "raw"}})
	check(t, err)
	t.Cleanup(func() { d.Close() })
	_, fsys, err := findRoot(d)
	check(t, err)
	out := newSink(func(Record) {})
	tree, names, err := readDisk(t.Context(), fsys, out)
	check(t, err)
	v, _, err := look(t.Context(), tree, names, &view{files: []*seen{{path: "/gone"}}}, func(uint32) bool { return true }, out)
	check(t, err)
	found := map[string]Record{}
	for _, r := range v.records(mountPoints{"/srv": true, "/etc/crontab": true}) {
		found[r.Key] = r
	}
	return found
}

// A host adds what dpkg's own tables say, the digest of what may be a package's,
// what locks a file, and what a mount over it hides.
func TestHostVouches(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/crontab": "x\n", "usr/bin/jq": "jq\n", "root/x": "x\n", "var/lib/dpkg/info/jq.md5sums": "1  usr/bin/jq\n", "var/lib/dpkg/info/jq.list": "/usr/bin/jq\n",
		"var/lib/dpkg/status": "Package: jq\nConffiles:\n /etc/jq 2\n", "var/lib/dpkg/diversions": "/a\n/b\njq\n",
	} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	image := diskOf(t, root)
	if out, err := exec.Command("debugfs", "-w", "-R", "set_inode_field /usr/bin/jq flags 0x80030", image).CombinedOutput(); err != nil {
		t.Skipf("debugfs: %v: %s", err, out)
	}
	found := lookLater(t, image)
	for key, want := range map[string]map[string]string{
		"/usr/bin/jq":                   {"md5": "183af8a4b034b608c8b56ff8f7c87bf1", locked: "immutable, append-only"},
		"/root/x":                       {"md5": "", locked: ""},
		"/var/lib/dpkg/info/jq.md5sums": {"sums": "1  usr/bin/jq\n", "md5": ""},
		"/var/lib/dpkg/info/jq.list":    {"sums": "", "md5": ""},
		"/var/lib/dpkg/status":          {"sums": "2  jq /etc/jq\n"},
		"/var/lib/dpkg/diversions":      {"sums": "/a\n/b\njq\n"},
		"disk:/etc/crontab":             {"hidden": "/etc/crontab", "text": "x\n"},
	} {
		for name, value := range want {
			if r, ok := found[key]; !ok || r.Attrs[name] != value {
				t.Errorf("%s: %s: got %q (found: %v), want %q", key, name, r.Attrs[name], ok, value)
			}
		}
	}
}
