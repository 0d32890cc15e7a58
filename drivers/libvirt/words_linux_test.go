package libvirt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// TestRemedy proves that the command that is proposed fits the machine's state.
func TestRemedy(t *testing.T) {
	for state, want := range map[string]string{
		"paused (user)": "resume", "paused": "resume", "pmsuspended (unknown)": "dompmwakeup", "shut off (saved)": "start", "crashed": "start",
	} {
		if got := remedy(state); got != want {
			t.Errorf("%s: got virsh %s, want virsh %s", state, got, want)
		}
	}
}

// TestForcedKVM proves that KVM is not taken on trust where the user asks for it.
func TestForcedKVM(t *testing.T) {
	t.Setenv("ASSAY_ACCEL", accelKVM)
	sh := filepath.Join(t.TempDir(), "sh")
	if err := os.WriteFile(sh, []byte("#!/bin/sh\necho there is no /dev/kvm\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &site{shell: &cli.Tool{Name: sh}}
	err := s.chooseAccel(t.Context(), "")
	gone := (*vm.UnavailableError)(nil)
	if !errors.As(err, &gone) || gone.Reason != "ASSAY_ACCEL=kvm: there is no /dev/kvm" || gone.Fix != "unset ASSAY_ACCEL" {
		t.Errorf("got %v, want that there is no KVM, and what asked for it", err)
	}
}

// TestUnreachableNamesHost proves that the error of a libvirt elsewhere says where.
func TestUnreachableNamesHost(t *testing.T) {
	s := &site{uri: "qemu+ssh://nobody@127.0.0.1:1/system", remote: true, virsh: virsh("")}
	err := s.unreachable(&cli.Error{Tool: "virsh", Kind: cli.ErrNetwork})
	if err == nil || !strings.Contains(err.Error(), s.uri+": virsh: the network is down") {
		t.Errorf("got %v, want where it is", err)
	}
}
