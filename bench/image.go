//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"assay/drivers/all"
	"assay/images"
	"assay/vm"
)

// imageName is the image that every contestant boots: assay's own Debian 12
// with what the others need in it as well.
const imageName = "debian-12-bench"

// guestPackages are what the contestants need in the guest.
var guestPackages = []string{"openssh-server", "qemu-guest-agent", "aide"}

// peerImage returns the image that all contestants share. It is built when
// its recipe or the agent changed.
func peerImage(ctx context.Context, home, agent string, progress func(string)) (vm.Image, error) {
	program, err := os.ReadFile(agent)
	if err != nil {
		return vm.Image{}, fmt.Errorf("agent: %w; run \"make agent\"", err)
	}
	key, err := sshKey(ctx, home)
	if err != nil {
		return vm.Image{}, err
	}
	store, err := images.Open(filepath.Join(home, "images"))
	if err != nil {
		return vm.Image{}, err
	}
	return store.Build(ctx, imageName, images.BuildOptions{
		Agent: program, Driver: all.Drivers(home, nil)[0], Progress: progress, Extra: recipe(key),
	})
}

// recipe says what the image holds beyond assay's Debian 12. The cloud kernel
// lacks the file system that autopkgtest-virt-qemu shares with its guest.
func recipe(key string) *images.Extra {
	shell := "etc/systemd/system/autopkgtest@.service"
	return &images.Extra{
		Like: "debian-12", Kernel: "linux-image-amd64", Packages: guestPackages, Unmask: []string{"serial-getty@ttyS0.service"},
		Files: []images.ExtraFile{
			{Name: "etc/ssh/bench_keys", Mode: 0o644, Text: key},
			{Name: "etc/ssh/sshd_config.d/bench.conf", Mode: 0o644, Text: "AuthorizedKeysFile /etc/ssh/bench_keys\nUseDNS no\n"},
			{Name: "etc/bench-aide.conf", Mode: 0o644, Text: aideConfig},
			{Name: shell, Mode: 0o644, Text: rootShell},
			{Name: "etc/systemd/system/multi-user.target.wants/autopkgtest@hvc1.service", Link: "/" + shell},
		},
	}
}

// rootShell is the unit that autopkgtest's own setup-testbed writes.
const rootShell = `[Unit]
Description=autopkgtest root shell on %I
ConditionPathExists=/dev/%I

[Service]
ExecStart=/bin/sh
StandardInput=tty-fail
StandardOutput=tty
StandardError=tty
TTYPath=/dev/%I
SendSIGHUP=yes
SuccessExitStatus=0 208 SIGHUP SIGINT SIGTERM SIGPIPE
`

// keyPath is where the key is that all guests of the benchmark let in.
func keyPath(home string) string { return filepath.Join(home, "bench", "id_ed25519") }

// sshKey returns the public half of the key, which is made if it is missing. It
// stays the same, because it is part of the image.
func sshKey(ctx context.Context, home string) (string, error) {
	path := keyPath(home)
	public, err := os.ReadFile(path + ".pub")
	if err == nil {
		return string(public), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", path).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	public, err = os.ReadFile(path + ".pub")
	return string(public), err
}
