package images

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// bootFiles is what booting the kernel directly needs of an image's files.
type bootFiles struct {
	kernel  []byte
	release string            // 6.1.0-31-cloud-amd64
	busybox []byte            // static
	dep     string            // modules.dep
	modules map[string][]byte // by path below the release's folder; those that could be needed at boot
}

// rootfs is what a pass over an image's files finds out.
type rootfs struct {
	boot      bootFiles
	packages  []Package
	osRelease map[string]string
	bytes     int64 // of all files
	epoch     int64 // newest time before the limit, Unix seconds
}

// Bounds of what scan keeps in memory, in bytes.
const (
	maxKept = 64 << 20 // one file
	maxAll  = 512 << 20
)

// privateDir holds what the recipe leaves for assay and not for the guest.
const privateDir = ".assay"

// scan reads an image's files as a tar stream to its end. Times from limit on
// come from the build, and do not count for the epoch.
func scan(r io.Reader, limit time.Time) (*rootfs, error) {
	found := &rootfs{boot: bootFiles{modules: map[string][]byte{}}}
	tr := tar.NewReader(bufio.NewReaderSize(r, 1<<20))
	var kept int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("image files: %w", err)
		}
		found.bytes += h.Size
		if h.ModTime.Before(limit) {
			found.epoch = max(found.epoch, h.ModTime.Unix())
		}
		keep := found.keeper(h)
		if keep == nil {
			continue
		}
		if kept += h.Size; h.Size > maxKept || kept > maxAll {
			return nil, fmt.Errorf("image files: %s: got %d bytes, want at most %d, and %d in all", h.Name, h.Size, maxKept, maxAll)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("image files: %s: %w", h.Name, err)
		}
		keep(data)
	}
	// What follows the archive's end must be read too, or its writer blocks.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	return found, found.complete()
}

// keeper returns what to do with the bytes of an entry; nil: nothing.
func (f *rootfs) keeper(h *tar.Header) func([]byte) {
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	name := strings.TrimPrefix(path.Clean(h.Name), "/")
	below := strings.TrimPrefix(name, "usr/") // old and new place of lib
	switch {
	case strings.HasPrefix(name, "boot/vmlinuz-"):
		return func(b []byte) { f.boot.kernel, f.boot.release = b, strings.TrimPrefix(name, "boot/vmlinuz-") }
	case name == privateDir+"/bin":
		return func(b []byte) { f.boot.busybox = b }
	case name == "var/lib/dpkg/status":
		return func(b []byte) { f.packages = parseStatus(string(b)) }
	case below == "lib/os-release":
		return func(b []byte) { f.osRelease = parseOSRelease(string(b)) }
	case strings.HasPrefix(below, "lib/modules/"):
		return f.moduleKeeper(strings.TrimPrefix(below, "lib/modules/"))
	}
	return nil
}

// moduleFolders are where a module that is needed at boot can be.
var moduleFolders = []string{"arch/", "crypto/", "lib/", "fs/ext4/", "fs/jbd2/", "fs/mbcache", "drivers/virtio/", "drivers/block/", "drivers/char/"}

// moduleKeeper keeps modules.dep and the modules that could be needed at boot.
func (f *rootfs) moduleKeeper(name string) func([]byte) {
	_, file, _ := strings.Cut(name, "/")
	if file == "modules.dep" {
		return func(b []byte) { f.boot.dep = string(b) }
	}
	in, ok := strings.CutPrefix(file, "kernel/")
	if !ok || !slices.ContainsFunc(moduleFolders, func(p string) bool { return strings.HasPrefix(in, p) }) {
		return nil
	}
	return func(b []byte) { f.boot.modules[file] = b }
}

// complete returns an error that names what the files lack.
func (f *rootfs) complete() error {
	for _, part := range []struct {
		name string
		ok   bool
	}{
		{"boot/vmlinuz-*", f.boot.kernel != nil},
		{"a static busybox", f.boot.busybox != nil},
		{"modules.dep", f.boot.dep != ""},
		{"var/lib/dpkg/status", len(f.packages) > 0},
		{"os-release", f.osRelease["ID"] != ""},
	} {
		if !part.ok {
			return fmt.Errorf("image files: got no %s, want one; run %q", part.name, "assay image build --fresh NAME")
		}
	}
	return nil
}

// parseStatus returns dpkg's installed packages, sorted by name, then architecture.
func parseStatus(status string) []Package {
	var list []Package
	for stanza := range strings.SplitSeq(status, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
				fields[key] = strings.TrimSpace(value)
			}
		}
		if strings.HasSuffix(fields["Status"], " installed") {
			list = append(list, Package{fields["Package"], fields["Version"], fields["Architecture"]})
		}
	}
	slices.SortFunc(list, func(a, b Package) int {
		return strings.Compare(a.Name+" "+a.Arch, b.Name+" "+b.Arch)
	})
	return list
}

// parseOSRelease reads os-release(5): KEY=value, value perhaps quoted.
func parseOSRelease(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			fields[key] = strings.Trim(value, `"'`)
		}
	}
	return fields
}
