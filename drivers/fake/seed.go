package fake

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"assay"
	"assay/vm"
)

// release is what an image's os-release says, by the image's name.
var codenames = map[string]string{"11": "bullseye", "12": "bookworm", "13": "trixie"}

// bootSystem makes the guest of a machine that was just switched on.
func bootSystem(spec vm.Spec, life context.Context) (*system, error) {
	size := max(spec.Disk, spec.Image.Size, 1<<30)
	g := &system{
		disk: newDisk(size, time.Now), procs: newProcesses(), os: osOf(spec.Image), cpus: spec.CPUs,
		memory: spec.Memory, life: life, booted: time.Now(),
	}
	if _, err := rand.Read(g.seed[:]); err != nil {
		return nil, err
	}
	if err := g.startProcesses(life); err != nil {
		return nil, err
	}
	return g, g.furnish()
}

// startProcesses starts what runs in every guest.
func (g *system) startProcesses(life context.Context) error {
	for _, p := range []struct{ user, command string }{
		{"root", "/sbin/init"}, {"root", "/lib/systemd/systemd-journald"}, {"root", "/usr/sbin/cron -f"}, {"messagebus", "/usr/bin/dbus-daemon --system"},
	} {
		if _, _, err := g.procs.start(life, p.user, 0, 0, strings.Fields(p.command)); err != nil {
			return err
		}
	}
	return nil
}

// osOf reads an image's name: debian-12 is Debian 12.
func osOf(img vm.Image) assay.OS {
	id, version, _ := strings.Cut(img.Name, "-")
	if img.OS != "" {
		id, version = img.OS, img.Version
	}
	name := id + " " + version
	if id == "debian" {
		name = fmt.Sprintf("Debian GNU/Linux %s (%s)", version, codenames[version])
	}
	arch := img.Arch
	if arch == "" {
		arch = "amd64"
	}
	return assay.OS{ID: id, Version: version, Key: assay.VersionKey(version), Name: name, Kernel: kernel, Arch: arch}
}

// furnish writes the files of a fresh image.
func (g *system) furnish() error {
	for p, data := range map[string]string{
		"/etc/os-release":                   fmt.Sprintf("PRETTY_NAME=%q\nID=%s\nVERSION_ID=%q\n", g.os.Name, g.os.ID, g.os.Version),
		"/etc/passwd":                       "root:x:0:0:root:/root:/bin/bash\ntester:x:1000:1000:Test user:/home/tester:/bin/bash\n",
		"/etc/group":                        "root:x:0:\nsudo:x:27:tester\ntester:x:1000:\n",
		"/etc/shadow":                       "root:*:19000:0:99999:7:::\ntester:!:19000:0:99999:7:::\n",
		"/etc/hostname":                     "assay\n",
		"/etc/hosts":                        "127.0.0.1 localhost\n",
		"/etc/machine-id":                   fmt.Sprintf("%x\n", g.random(16)),
		"/etc/environment":                  "",
		"/etc/profile":                      "PATH=/usr/local/bin:/usr/bin:/bin\n",
		"/etc/motd":                         "A guest that is not real.\n",
		"/etc/ssh/ssh_host_ed25519_key":     "made up, and never asked for\n",
		"/etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 " + fmt.Sprintf("%x", g.random(16)) + " root@assay\n",
		"/sys/class/net/eth0/address":       mac(g.random(3)),
		"/etc/crontab":                      "17 * * * * root run-parts /etc/cron.hourly\n",

		"/etc/sudoers.d/tester":           "tester ALL=(ALL) NOPASSWD: ALL\n",
		"/proc/sys/kernel/random/boot_id": fmt.Sprintf("%x\n", g.random(16)),
		"/proc/modules":                   "",
		"/proc/mounts":                    "/dev/vda / ext4 rw,relatime 0 0\n",
		"/usr/share/assay/pool/Packages":  "",
		"/var/log/apt/history.log":        "",
		"/var/lib/dpkg/info/base.list":    "/.\n/bin\n/usr\n/etc\n",
		statusFile:                        stanza("base-files", g.os.Version) + stanza("bash", "5.2") + stanza("coreutils", "9.1"),
		"/home/tester/.bashrc":            "# ~/.bashrc\n",
		"/home/tester/.profile":           "# ~/.profile\n",
		"/root/.bashrc":                   "# ~/.bashrc\n",
	} {
		if err := g.put(p, data, 0o644); err != nil {
			return err
		}
	}
	return g.finish()
}

// mac is an address of the kind that hypervisors give.
func mac(b []byte) string { return fmt.Sprintf("52:54:00:%02x:%02x:%02x\n", b[0], b[1], b[2]) }

// finish sets what differs from a root's 0644 and 0755, and makes empty folders.
func (g *system) finish() error {
	for _, dir := range []string{"/dev", "/mnt", "/opt", "/run", "/srv", "/sys", "/usr/bin", "/usr/local/bin", "/var/tmp", "/var/cache", "/tmp"} {
		if err := g.disk.mkdirAll(dir, 0o755, 0); err != nil {
			return err
		}
	}
	if err := g.disk.symlink("usr/bin", "/bin", 0); err != nil {
		return err
	}
	for _, tmp := range []string{"/tmp", "/var/tmp"} {
		if err := g.disk.chmod(tmp, fs.ModeSticky|0o777, 0); err != nil {
			return err
		}
	}
	for p, mode := range map[string]fs.FileMode{"/etc/shadow": 0o640, "/etc/sudoers.d/tester": 0o440, "/root": 0o700} {
		if err := g.disk.chmod(p, mode, 0); err != nil {
			return err
		}
	}
	return g.disk.visit("/home/tester", func(p string, _ info) error { return g.disk.chown(p, 1000, 0) })
}
