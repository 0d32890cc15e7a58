package images

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"strings"

	_ "embed"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

//go:embed recipe/init
var initScript []byte

// bootModules are the kernel modules between power-on and the root file system,
// and the one of the agent's line, so that it is there as soon as the agent is.
// One that is built into the kernel needs nothing.
var bootModules = []string{"virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "virtio_console"}

// maxModule bounds one unpacked module, in bytes.
const maxModule = 16 << 20

// makeInitrd writes an initial RAM file system: busybox, the script, and the
// modules in the order in which they must be loaded. It is not compressed: an
// emulated CPU takes longer to unpack it than the host to read it.
func makeInitrd(w io.Writer, boot bootFiles) error {
	order, err := loadOrder(boot.dep, bootModules)
	if err != nil {
		return err
	}
	c := &cpioWriter{w: w}
	for _, dir := range []string{"bin", "dev", "modules", "proc", "root"} {
		c.add(dir, cpioDir, nil)
	}
	c.add("bin/busybox", cpioExec, boot.busybox)
	c.add("init", cpioExec, initScript)
	for i, file := range order {
		ko, err := unpackModule(file, boot.modules[file])
		if err != nil {
			return err
		}
		c.add(fmt.Sprintf("modules/%02d-%s.ko", i, moduleName(file)), cpioFile, ko)
	}
	return c.close()
}

// loadOrder returns the files of the wanted modules and of all they depend on,
// each after what it depends on. dep is the text of modules.dep.
func loadOrder(dep string, want []string) ([]string, error) {
	needs, file := map[string][]string{}, map[string]string{}
	for line := range strings.Lines(dep) {
		target, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			needs[target], file[moduleName(target)] = strings.Fields(rest), target
		}
	}
	if len(needs) == 0 {
		return nil, fmt.Errorf("modules.dep: got no modules, want the kernel's list")
	}
	var order []string
	placed := map[string]bool{}
	var place func(string)
	place = func(f string) {
		if placed[f] {
			return
		}
		placed[f] = true
		for _, n := range needs[f] {
			place(n)
		}
		order = append(order, f)
	}
	for _, name := range want {
		if f, ok := file[name]; ok {
			place(f)
		}
	}
	return order, nil
}

// moduleName returns the name of the module in a file: virtio_blk for
// kernel/drivers/block/virtio_blk.ko.xz.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(base, "-", "_")
}

// unpackModule undoes the compression that the module's file name tells.
func unpackModule(file string, data []byte) ([]byte, error) {
	if data == nil {
		return nil, fmt.Errorf("module %s: it is in modules.dep, but not in the image", file)
	}
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch path.Ext(file) {
	case ".xz":
		r, err = xz.NewReader(r)
	case ".zst":
		r, err = zstd.NewReader(r)
	case ".gz":
		r, err = gzip.NewReader(r)
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	ko, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(ko) > maxModule {
		err = fmt.Errorf("got more than %d bytes, want fewer", maxModule)
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	return ko, nil
}
