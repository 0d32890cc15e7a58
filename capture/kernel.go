package capture

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// kernel observes what the running kernel is told: its modules and its settings.
type kernel struct{}

func (kernel) Name() string    { return "kernel" }
func (kernel) Kinds() []string { return []string{Module, Sysctl} }
func (kernel) Live() bool      { return true }

func (kernel) Collect(ctx context.Context, src Source, out *Sink) error {
	for l := range strings.Lines(text(src, out, "kernel", "/proc/modules")) {
		f := strings.Fields(l) // name size refcount users state address (taint)
		if len(f) < 5 {
			continue
		}
		a := attrs("size", line(f[1]), "state", line(f[4]))
		if len(f) > 6 {
			a["taint"] = line(f[6])
		}
		out.Add(Record{Module, Escape(f[0]), a})
	}
	settings(ctx, src, out)
	return ctx.Err()
}

// restless are the settings that are readings: they differ from one moment to the
// next, or make a new value for each reader.
var restless = []struct{ glob, why string }{
	{"kernel.random.*", "a new uuid for each reader; the entropy that is left"},
	{"fs.*-nr", "files and inodes in use"},
	{"fs.*-state", "inodes and dentries in use"},
	{"fs.quota.*", "counters"},
	{"kernel.ns_last_pid", "the last process's number"},
	{"kernel.pty.nr", "terminals in use"},
	{"kernel.perf_event_max_sample_rate", "the kernel lowers it on a slow machine"},
	{"kernel.sched_domain.*", "the processors' topology"},
	{"kernel.core_modes", "the same on every kernel"},
	{"net.netfilter.nf_conntrack_count", "connections in use"},
	{"net.ipv[46].route.flush", "only to be written"},
	{"net.ipv[46].conf.*", "one folder for each device; default and all are kept"},
	{"net.ipv[46].neigh.*", "one folder for each device; default is kept"},
	{"vm.stat_refresh", "reading it is work"},
	{"dev.cdrom.*", "a drive's description"},
}

// restlessSetting reports whether a dotted name is on the list.
func restlessSetting(name string) bool {
	listed := slices.ContainsFunc(restless, func(r struct{ glob, why string }) bool {
		// Almost every name ends here; to match all globs takes longer than the kernel.
		if len(name) < 3 || name[:3] != r.glob[:3] {
			return false
		}
		ok, _ := path.Match(r.glob, name)
		return ok
	})
	return listed && !slices.ContainsFunc([]string{".conf.default.", ".conf.all.", ".neigh.default."}, func(keep string) bool {
		return strings.Contains(name+".", keep)
	})
}

// Bounds of /proc/sys; no kernel's is deeper.
const (
	maxDepth   = 10
	maxSetting = 64 << 10
)

// reader is a Source that reads many small files in one go.
type reader interface {
	// readTree gives visit each file below root, of at most maxSetting bytes, that
	// is wanted, as are the folders on the way, and may be read by anybody. data is
	// good until visit returns. What cannot be read has an err.
	readTree(ctx context.Context, root string, wanted func(p string) bool, visit func(p string, data []byte, err error))
}

func (s source) readTree(ctx context.Context, root string, wanted func(p string) bool, visit func(p string, data []byte, err error)) {
	if r, ok := s.Source.(reader); ok {
		r.readTree(ctx, root, wanted, visit)
		return
	}
	s.readBelow(ctx, root, 0, wanted, visit)
}

func (s source) readBelow(ctx context.Context, dir string, depth int, wanted func(p string) bool, visit func(p string, data []byte, err error)) {
	found, err := s.ReadDir(dir)
	if err != nil {
		visit(dir, nil, err)
	}
	for _, e := range found {
		p := path.Join(dir, e.Name())
		switch {
		case ctx.Err() != nil || depth > maxDepth:
			return
		case !wanted(p):
		case e.IsDir():
			s.readBelow(ctx, p, depth+1, wanted, visit)
		case !writeOnly(e):
			data, err := s.ReadFile(p, maxSetting)
			visit(p, data, err)
		}
	}
}

// writeOnly reports whether nobody may read a setting.
func writeOnly(e fs.DirEntry) bool {
	info, err := e.Info()
	return err == nil && info.Mode().Perm()&0o444 == 0
}

// settings emits what lies below /proc/sys. Settings that may only be written are
// left out.
func settings(ctx context.Context, src Source, out *Sink) {
	source{src}.readTree(ctx, "/proc/sys",
		func(p string) bool { return !restlessSetting(settingName(p)) },
		func(p string, data []byte, err error) { setting(out, p, data, err) })
}

// settingName is the dotted name of a file below /proc/sys.
func settingName(p string) string {
	return strings.ReplaceAll(strings.TrimPrefix(p, "/proc/sys/"), "/", ".")
}

// valueless is how settings say that they have no value on this machine.
var valueless = []error{fs.ErrNotExist, syscall.EINVAL, syscall.EIO, syscall.EOPNOTSUPP, syscall.ENODATA}

func setting(out *Sink, p string, data []byte, err error) {
	switch {
	case err == nil:
		out.Add(Record{Sysctl, Escape(settingName(p)), attrs("value", line(squeeze(data)))})
	case !slices.ContainsFunc(valueless, func(v error) bool { return errors.Is(err, v) }):
		out.Problem("kernel: %s: %s", p, cause(err))
	}
}

// squeeze makes one space of each stretch of them.
func squeeze(data []byte) string {
	data = bytes.TrimSpace(data)
	if !bytes.ContainsAny(data, " \t\n\r\v\f") {
		return string(data)
	}
	return string(bytes.Join(bytes.Fields(data), []byte(" ")))
}
