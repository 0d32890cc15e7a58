package capture

import (
	"context"
	"path"
	"strings"
)

// autostart observes what runs by itself, or in every program, beside units, cron
// and shell start files.
type autostart struct{}

func (autostart) Name() string    { return "autostart" }
func (autostart) Kinds() []string { return []string{Autostart} }

// startPoints are single files and whole folders that the system runs or obeys.
var startPoints = []struct{ point, path string }{
	{"rc.local", "/etc/rc.local"},
	{"rc.local", "/etc/rc.d/rc.local"},
	{"init.d", "/etc/init.d/"},
	{"init.d", "/etc/local.d/"},
	{"runlevel", "/etc/rc2.d/"},
	{"runlevel", "/etc/rc5.d/"},
	{"runlevel", "/etc/rcS.d/"},
	{"runlevel", "/etc/runlevels/boot/"},
	{"runlevel", "/etc/runlevels/default/"},
	{"runlevel", "/etc/runlevels/sysinit/"},
	{"inittab", "/etc/inittab"},
	{"ld.so.preload", "/etc/ld.so.preload"},
	{"pam", "/etc/pam.d/"},
	{"modules", "/etc/modules"},
	{"modules", "/etc/modules-load.d/"},
	{"udev", "/etc/udev/rules.d/"},
	{"xdg", "/etc/xdg/autostart/"},
	{"network", "/etc/network/if-up.d/"},
	{"network", "/etc/NetworkManager/dispatcher.d/"},
	{"network", "/etc/dhcp/dhclient-exit-hooks.d/"},
	{"login", "/etc/update-motd.d/"},
	{"apt", "/etc/apt/apt.conf.d/"},
	{"initramfs", "/etc/initramfs-tools/scripts/local-bottom/"},
	{"kernel", "/etc/default/grub"},
}

// userPoints are the same in every home.
var userPoints = []struct{ point, path string }{
	{"xdg", ".config/autostart/"},
	{"user unit", ".config/systemd/user/"},
	{"user unit", ".config/systemd/user/default.target.wants/"},
	{"ssh", ".ssh/rc"},
}

func (autostart) Collect(ctx context.Context, src Source, out *Sink) error {
	for _, s := range startPoints {
		startPoint(src, out, "", s.point, s.path)
	}
	for _, h := range homes(src, out) {
		for _, s := range userPoints {
			startPoint(src, out, h.user, s.point, h.dir+"/"+s.path)
		}
	}
	return nil
}

// startPoint emits a file, or the files of a folder whose path ends in a slash.
func startPoint(src Source, out *Sink, user, point, p string) {
	dir, isDir := strings.CutSuffix(p, "/")
	if !isDir {
		startFile(src, out, user, point, p)
		return
	}
	for _, name := range entriesOf(src, out, "autostart", dir) {
		startFile(src, out, user, point, path.Join(dir, name))
	}
}

func startFile(src Source, out *Sink, user, point, p string) {
	st, err := src.Lstat(p)
	if err != nil || st.Mode&typeMask == typeDir {
		return
	}
	a := attrs("point", point, "user", user)
	if st.Mode&typeMask == typeLink {
		target, _ := src.Readlink(p)
		setIf(a, "target", line(target))
	} else {
		setIf(a, "sha256", digestOf(src, out, "autostart", p))
	}
	if point == "xdg" {
		setIf(a, "command", desktopExec(text(src, out, "autostart", p)))
	}
	out.Add(Record{Autostart, Escape(p), a})
}

// desktopExec returns what a desktop entry runs.
func desktopExec(data string) string {
	for _, l := range lines(data) {
		if command, ok := strings.CutPrefix(l, "Exec="); ok {
			return line(command)
		}
	}
	return ""
}
