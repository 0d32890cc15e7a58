//go:build linux

package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"assay/vm"
)

// hardware is the machine that spec asks for, on an image whose files exist.
func (t tools) hardware(spec vm.Spec) (hardware, error) {
	hw := hardware{
		ID:      machineID(spec),
		CPUs:    spec.CPUs,
		Memory:  (spec.Memory + 1<<20 - 1) >> 20 << 20,
		Size:    max(spec.Disk, spec.Image.Size),
		Network: spec.Network.Mode,
		Image:   spec.Image,
	}
	switch hw.Network {
	case "", vm.NetworkNone:
		hw.Network = vm.NetworkNone
	case vm.NetworkOpen:
	default:
		return hw, &vm.UnsupportedError{Machine: "qemu", Want: fmt.Sprintf("network %q", hw.Network), Instead: `use "none" or "open"`}
	}
	if hw.CPUs < 1 {
		return hw, fmt.Errorf("cpus: got %d, want at least 1", hw.CPUs)
	}
	if hw.Memory < minMemory {
		return hw, fmt.Errorf("memory: got %s, want at least %s", bytesText(hw.Memory), bytesText(minMemory))
	}
	if err := hw.files(); err != nil {
		return hw, err
	}
	if spec.Image.Kernel == "" && spec.Image.Firmware == "uefi" {
		var err error
		if hw.Code, err = uefi(); err != nil {
			return hw, err
		}
	}
	return hw, nil
}

// files makes the image's paths absolute and checks that they can be opened.
func (hw *hardware) files() error {
	img := &hw.Image
	if img.Format != "qcow2" && img.Format != "raw" {
		return fmt.Errorf("image %s: got format %q, want qcow2 or raw", img.Name, img.Format)
	}
	if img.Disk == "" || hw.Size <= 0 {
		return fmt.Errorf("image %s: got disk %q of %d bytes, want a file and its size", img.Name, img.Disk, hw.Size)
	}
	for _, path := range []*string{&img.Disk, &img.Kernel, &img.Initrd, &img.Seed} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		f, err := os.Open(abs)
		if err != nil {
			return fmt.Errorf("image %s: %w", img.Name, err)
		}
		f.Close()
		*path = abs
	}
	return nil
}

// fits checks what hw asks of the host before anything starts. disk is what the
// script asked for, 0 if it did not.
func fits(dir string, hw hardware, disk int64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	h, err := readHost(dir)
	if err != nil {
		return err
	}
	return h.allows(hw.CPUs, hw.Memory, disk)
}

// uefiCode lists where distributions keep UEFI firmware for guests.
var uefiCode = []string{
	"/usr/share/OVMF/OVMF_CODE_4M.fd",
	"/usr/share/OVMF/OVMF_CODE.fd",
	"/usr/share/edk2/x64/OVMF_CODE.4m.fd",
	"/usr/share/edk2/ovmf/OVMF_CODE.fd",
}

// uefi finds the firmware; its variables lie beside it.
func uefi() (string, error) {
	for _, code := range uefiCode {
		if _, err := os.Stat(varsTemplate(code)); err == nil {
			return code, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", unavailable("the image boots by UEFI and no firmware is installed", "apt-get install ovmf")
}

// varsTemplate names the empty variables that belong to a firmware.
func varsTemplate(code string) string {
	dir, name := filepath.Split(code)
	return filepath.Join(dir, strings.Replace(name, "_CODE", "_VARS", 1))
}
