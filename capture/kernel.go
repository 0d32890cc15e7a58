package capture

import (
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
	settings(ctx, src, out, "/proc/sys", 0)
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
	for _, keep := range []string{".conf.default.", ".conf.all.", ".neigh.default."} {
		if strings.Contains(name+".", keep) {
			return false
		}
	}
	return slices.ContainsFunc(restless, func(r struct{ glob, why string }) bool {
		ok, _ := path.Match(r.glob, name)
		return ok
	})
}

// maxDepth is how deep /proc/sys is walked; no kernel's is deeper.
const maxDepth = 10

// settings walks /proc/sys. Settings that may only be written are left out.
func settings(ctx context.Context, src Source, out *Sink, dir string, depth int) {
	found, err := src.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		out.Problem("kernel: %s: %s", dir, cause(err))
	}
	for _, e := range found {
		p := path.Join(dir, e.Name())
		name := strings.ReplaceAll(strings.TrimPrefix(p, "/proc/sys/"), "/", ".")
		switch {
		case ctx.Err() != nil || depth > maxDepth:
			return
		case restlessSetting(name):
		case e.IsDir():
			settings(ctx, src, out, p, depth+1)
		case writeOnly(e):
		default:
			setting(src, out, p, name)
		}
	}
}

// writeOnly reports whether nobody may read a setting.
func writeOnly(e fs.DirEntry) bool {
	info, err := e.Info()
	return err == nil && info.Mode().Perm()&0o444 == 0
}

func setting(src Source, out *Sink, p, name string) {
	data, err := src.ReadFile(p, 64<<10)
	switch {
	case err == nil:
		value := strings.Join(strings.Fields(string(data)), " ")
		out.Add(Record{Sysctl, Escape(name), attrs("value", line(value))})
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENODATA):
		// Settings that have no value on this machine say so in these ways.
	default:
		out.Problem("kernel: %s: %s", p, cause(err))
	}
}
