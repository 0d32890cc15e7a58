//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// hostPackages are the contestants, as Debian has them.
var hostPackages = []string{
	"autopkgtest", "libvirt-daemon-system", "libvirt-daemon-driver-qemu", "libvirt-clients", "openssh-client",
	"qemu-system-x86", "qemu-utils", "mmdebstrap", "e2fsprogs", "util-linux", "diffutils",
}

// installPackages installs those of hostPackages that are missing.
func installPackages(ctx context.Context, say io.Writer) error {
	var missing []string
	for _, name := range hostPackages {
		status, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", name).Output()
		if err != nil || string(status) != "installed" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintln(say, "the benchmark needs", strings.Join(missing, " ")+"; installing")
	for _, argv := range [][]string{{"update", "-q"}, append([]string{"install", "-y", "-q", "--no-install-recommends"}, missing...)} {
		argv = append([]string{"apt-get"}, argv...)
		if os.Geteuid() != 0 {
			argv = append([]string{"sudo"}, argv...)
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = say, say
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}
