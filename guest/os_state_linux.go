package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"assay"

	"golang.org/x/sys/unix"
)

// Info implements System.
func (o *OS) Info(ctx context.Context) (Info, error) {
	user, err := lookup("")
	if err != nil {
		return Info{}, err
	}
	info := Info{User: user.name, Home: user.home, Agent: assay.Version, Cgroups: o.Cgroup != "", Expires: true, HostKeys: o.HostKeys()}
	info.Hostname, _ = os.Hostname()
	info.OS = osOf(firstFile("/etc/os-release", "/usr/lib/os-release"))
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Info{}, err
	}
	info.OS.Kernel, info.OS.Arch = unix.ByteSliceToString(uts.Release[:]), runtime.GOARCH
	info.BootID = strings.TrimSpace(firstFile("/proc/sys/kernel/random/boot_id"))
	if uptime := strings.Fields(firstFile("/proc/uptime")); len(uptime) > 0 {
		info.Uptime, _ = strconv.ParseFloat(uptime[0], 64)
	}
	info.CPUs = runtime.NumCPU()
	var sys unix.Sysinfo_t
	if unix.Sysinfo(&sys) == nil {
		info.Memory = int64(sys.Totalram) * int64(sys.Unit)
	}
	return info, nil
}

// firstFile returns the content of the first of files that can be read.
func firstFile(files ...string) string {
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			return string(b)
		}
	}
	return ""
}

// osOf reads os-release(5).
func osOf(release string) assay.OS {
	fields := map[string]string{}
	for line := range strings.Lines(release) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[key] = unquote(value)
		}
	}
	system := assay.OS{ID: fields["ID"], Version: fields["VERSION_ID"], Name: fields["PRETTY_NAME"]}
	if system.ID == "" {
		system.ID = "linux"
	}
	system.Key = assay.VersionKey(system.Version)
	return system
}

// unquote undoes the quoting of a shell's assignment.
func unquote(v string) string {
	if n := len(v); n >= 2 && (v[0] == '"' || v[0] == '\'') && v[n-1] == v[0] {
		v = v[1 : n-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`).Replace(v)
}

// Wait implements System.
func (o *OS) Wait(ctx context.Context, c Condition) error {
	holds, nap, err := c.check()
	if err != nil {
		return err
	}
	for {
		if ok, err := holds(ctx); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(nap):
		}
	}
}

// check returns how to see whether c holds, and how often to look.
func (c Condition) check() (holds func(context.Context) (bool, error), nap time.Duration, err error) {
	switch {
	case c.File != "" && c.Port == 0 && c.Unit == "":
		path, err := expand(c.File, "")
		return func(context.Context) (bool, error) { return exists(path) }, 20 * time.Millisecond, err
	case c.Port > 0 && c.Port < 1<<16 && c.File == "" && c.Unit == "":
		return func(context.Context) (bool, error) { return listening(c.Port), nil }, 50 * time.Millisecond, nil
	case c.Unit != "" && c.File == "" && c.Port == 0 && !strings.HasPrefix(c.Unit, "-"):
		return func(ctx context.Context) (bool, error) { return active(ctx, c.Unit) }, 250 * time.Millisecond, nil
	}
	return nil, 0, errors.New("got no condition, or several; want a file, a TCP port or a unit")
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}

// listening looks for a TCP socket in state 0A (LISTEN) on port.
func listening(port int) bool {
	want := fmt.Sprintf(":%04X", port)
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for line := range strings.Lines(firstFile(file)) {
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[1], want) && f[3] == "0A" {
				return true
			}
		}
	}
	return false
}

// active asks systemd. A guest without systemctl will never have the unit.
func active(ctx context.Context, unit string) (bool, error) {
	path, err := findProgram("systemctl", []string{"PATH=/usr/bin:/bin"}, "/")
	if err != nil {
		return false, err
	}
	return exec.CommandContext(ctx, path, "is-active", "--quiet", "--", unit).Run() == nil, nil
}
