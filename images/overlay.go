package images

import (
	"archive/tar"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"assay/seed"
)

// Where the agent and its unit are in a guest's tree.
var (
	agentPath = strings.TrimPrefix(seed.AgentPath, "/")
	unitPath  = strings.TrimPrefix(seed.UnitPath, "/")
)

//go:embed all:recipe/files
var recipeFiles embed.FS

// masked are units that cost boot time or act on their own while a test runs.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"fstrim.timer", "systemd-tmpfiles-clean.timer", "systemd-timesyncd.service", "systemd-udev-settle.service",
	"systemd-networkd-wait-online.service", "systemd-random-seed.service", "systemd-journal-flush.service",
	"systemd-machine-id-commit.service", "systemd-firstboot.service", "systemd-pstore.service", "systemd-boot-random-seed.service",
	"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-tpm2-setup.service", "systemd-tpm2-setup-early.service",
	"systemd-networkd-persistent-storage.service", "systemd-hwdb-update.service", "systemd-journal-catalog-update.service",
	"systemd-update-done.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "ldconfig.service",
	"modprobe@drm.service", "modprobe@fuse.service", "modprobe@efi_pstore.service", "modprobe@configfs.service",
	"modprobe@dm_mod.service", "modprobe@loop.service", "dev-hugepages.mount", "dev-mqueue.mount",
	"sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
	"proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service", "ifupdown-pre.service",
	"getty@tty1.service", "serial-getty@ttyS0.service", "console-getty.service",
}

// wanted are the units that the image starts, with the target that wants them.
var wanted = []struct{ unit, target string }{
	{"/etc/systemd/system/assay-agent.service", "sysinit.target"},
	{"/lib/systemd/system/systemd-networkd.service", "multi-user.target"},
}

// overlayFile is one file that assay puts over the packages' files.
type overlayFile struct {
	name string // without a leading slash
	mode int64
	link string // target; then data is not used
	data []byte
}

// overlay returns what goes over the packages' files of an image, agent
// included. It depends on its arguments only.
func overlay(k known, agent []byte) []overlayFile {
	id := sha256.Sum256([]byte("assay machine-id " + k.Name))
	files := []overlayFile{
		{name: agentPath, mode: 0o755, data: agent},
		{name: "etc/hostname", mode: 0o644, data: []byte(k.Name + "\n")},
		{name: "etc/hosts", mode: 0o644, data: fmt.Appendf(nil, "127.0.0.1 localhost %s\n::1 localhost ip6-localhost ip6-loopback\n", k.Name)},
		// A fixed identity: without one, every boot is a first boot. The agent
		// gives each machine its own.
		{name: "etc/machine-id", mode: 0o444, data: fmt.Appendf(nil, "%s\n", hex.EncodeToString(id[:16]))},
		{name: "etc/sudoers.d/tester", mode: 0o440, data: []byte("tester ALL=(ALL) NOPASSWD: ALL\n")},
	}
	for _, unit := range slices.DeleteFunc(slices.Clone(masked), k.extra.unmasks) {
		files = append(files, overlayFile{name: "etc/systemd/system/" + unit, link: "/dev/null"})
	}
	for _, w := range wanted {
		files = append(files, overlayFile{name: "etc/systemd/system/" + w.target + ".wants/" + path.Base(w.unit), link: w.unit})
	}
	return slices.Concat(files, recipeTree(), k.extra.overlay())
}

// recipeTree returns the files of recipe/files at their places, and the agent's unit.
func recipeTree() []overlayFile {
	var files []overlayFile
	err := fs.WalkDir(recipeFiles, "recipe/files", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := recipeFiles.ReadFile(p)
		files = append(files, overlayFile{name: strings.TrimPrefix(p, "recipe/files/"), mode: 0o644, data: data})
		return err
	})
	if err != nil {
		panic(err) // the tree is part of the program
	}
	return append(files, overlayFile{name: unitPath, mode: 0o644, data: seed.Unit()})
}

// writeOverlay writes files as a tar stream, parents of new folders included.
func writeOverlay(w io.Writer, files []overlayFile) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg, Format: tar.FormatPAX, ModTime: time.Unix(0, 0)}
		if f.link != "" {
			h.Typeflag, h.Linkname, h.Mode, h.Size = tar.TypeSymlink, f.link, 0o777, 0
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(f.data); err != nil {
			return err
		}
	}
	return tw.Close()
}
