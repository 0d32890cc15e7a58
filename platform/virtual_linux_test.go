package platform

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// TestVirtualisation proves that every way in which it can be off has its fix.
func TestVirtualisation(t *testing.T) {
	for _, c := range []struct {
		flags  string
		device error
		usable bool
		found  string
		fix    string
	}{
		{"fpu vmx", nil, true, "VT-x", ""},
		{"fpu svm", nil, true, "AMD-V", ""},
		{"fpu", fs.ErrNotExist, false, "no VT-x or AMD-V", "firmware"},
		{"fpu hypervisor", fs.ErrNotExist, false, "virtual machine itself", "nested"},
		{"fpu vmx", fs.ErrNotExist, false, "no /dev/kvm", "modprobe kvm_intel"},
		{"fpu svm", fs.ErrNotExist, false, "no /dev/kvm", "modprobe kvm_amd"},
		{"fpu vmx", fs.ErrPermission, false, "closed to this user", "usermod -aG kvm"},
		{"fpu vmx", errors.New("no such device"), false, "does not open", "firmware"},
	} {
		got := judge(strings.Fields(c.flags), c.device)
		if got.Usable != c.usable || !strings.Contains(got.Found, c.found) || !strings.Contains(got.Fix, c.fix) || (c.fix == "") != (got.Fix == "") {
			t.Errorf("%q, %v: got %+v", c.flags, c.device, got)
		}
	}
}
