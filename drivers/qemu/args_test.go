//go:build linux

package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/vm"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestArgs(t *testing.T) {
	tcg := tools{Accel: accelTCG, Sandbox: true}
	kvm := tools{Accel: accelKVM}
	kernel := vm.Image{Kernel: "/i/vmlinuz", Initrd: "/i/initrd", Append: "root=/dev/vda ro console=ttyS0 panic=5"}
	for _, tc := range []struct {
		name     string
		tools    tools
		hw       hardware
		mem      ram
		incoming bool
	}{
		{"kernel", tcg, hardware{ID: "r1.m1", CPUs: 2, Memory: 512 << 20, Image: kernel}, ram{}, false},
		{"bios-seed-open", kvm, hardware{ID: "r1.m2", CPUs: 1, Memory: 1 << 30, Network: vm.NetworkOpen, Image: vm.Image{Seed: "/i/a,b.iso"}}, ram{}, false},
		{"uefi", tcg, hardware{ID: "m3", CPUs: 1, Memory: 1 << 30, Code: "/fw/OVMF_CODE.fd"}, ram{}, false},
		{"template", tcg, hardware{ID: "t", CPUs: 1, Memory: 256 << 20, Network: networkShut, Image: kernel}, ram{path: "/t,1/ram", shared: true}, false},
		{"clone", tcg, hardware{ID: "c", CPUs: 1, Memory: 256 << 20, Image: kernel}, ram{path: "/t,1/ram"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := strings.Join(tc.tools.args(tc.hw, tc.mem, "disk.0.qcow2", tc.incoming), "\n") + "\n"
			golden(t, filepath.Join("testdata", "args-"+tc.name+".golden"), got)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// A template's memory may be written by its first boot only.
func TestOnlyTheFirstBootSharesMemory(t *testing.T) {
	if got := (ram{path: "/ram"}).object(1); !strings.Contains(got, "share=off") {
		t.Errorf("got %s, want a private mapping", got)
	}
}

func TestKernelLine(t *testing.T) {
	for line, want := range map[string]string{
		"":                              "mitigations=off panic=-1",
		"root=/dev/vda":                 "root=/dev/vda mitigations=off panic=-1",
		"quiet a  b":                    "a b mitigations=off panic=-1",
		"panic=10 mitigations=auto":     "panic=10 mitigations=auto",
		"oops=panic root=/dev/x":        "oops=panic root=/dev/x mitigations=off panic=-1",
		"xmitigations=off kernel.panic": "xmitigations=off kernel.panic mitigations=off panic=-1",
	} {
		if got := kernelLine(line); got != want {
			t.Errorf("kernelLine(%q): got %q, want %q", line, got, want)
		}
	}
}
