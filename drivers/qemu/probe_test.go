//go:build linux

package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/vm"
)

func TestParseVersion(t *testing.T) {
	for out, want := range map[string]string{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright": "QEMU 7.2.22",
		"QEMU emulator version 10.0.2\n":                                         "QEMU 10.0.2",
		"":                                                                       "",
		"bash: qemu: not found":                                                  "",
	} {
		got, err := parseVersion([]byte(out))
		if got != want || (err != nil) != (want == "") {
			t.Errorf("parseVersion(%q): got %q, %v, want %q", out, got, err, want)
		}
	}
}

func TestHasVirtualization(t *testing.T) {
	for info, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu vme vmx sse\n": true,
		"flags\t\t: fpu svm\n":                         true,
		"flags\t\t: fpu sse svm_lock\nvmx flags\t: x":  false,
		"model name: vmx svm\nflags\t\t: fpu\n":        false,
	} {
		if got := hasVirtualization([]byte(info)); got != want {
			t.Errorf("hasVirtualization(%q): got %v, want %v", info, got, want)
		}
	}
}

// program puts a shell script on a PATH of its own, as the only program there
// beside those that scripts need.
func program(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("ASSAY_QEMU", "")
}

func TestProbeNamesWhatIsMissing(t *testing.T) {
	const version = "echo QEMU emulator version 9.1.0\n"
	for name, tc := range map[string]struct {
		scripts map[string]string
		reason  string
		fix     string
	}{
		"nothing":   {nil, "qemu-system-x86_64 is not installed", "apt-get install qemu-system-x86"},
		"no images": {map[string]string{"qemu-system-x86_64": version}, "qemu-img is not installed", "apt-get install qemu-utils"},
		"not qemu":  {map[string]string{"qemu-system-x86_64": "echo hello", "qemu-img": ""}, "got \"hello", "--reinstall"},
		"broken":    {map[string]string{"qemu-system-x86_64": "exit 127", "qemu-img": ""}, "exit status 127", "--reinstall"},
		"no guest": {map[string]string{"qemu-system-x86_64": `[ "$1" = --version ] && exec /bin/echo QEMU emulator version 9.1.0; echo no such machine >&2; exit 1`, "qemu-img": ""},
			"cannot run a guest: got exit status 1, want exit status 33: no such machine", "--reinstall"},
	} {
		t.Run(name, func(t *testing.T) {
			program(t, tc.scripts)
			_, err := New(Config{}).Probe(t.Context())
			missing, ok := errors.AsType[*vm.UnavailableError](err)
			if !ok || !strings.Contains(missing.Reason, tc.reason) || !strings.Contains(missing.Fix, tc.fix) {
				t.Errorf("got %v, want reason %q and fix %q", err, tc.reason, tc.fix)
			}
		})
	}
}

// A guest that hangs, as it does under a KVM that only opens, ends the proof.
func TestProofHasADeadline(t *testing.T) {
	program(t, map[string]string{"hang": "exec /bin/sleep 60"})
	path, err := exec.LookPath("hang")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = runTinyGuest(t.Context(), path, accelKVM, 100*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %v, want a deadline", err, time.Since(began))
	}
}

func TestForcedAcceleratorMustBeKnown(t *testing.T) {
	t.Setenv("ASSAY_ACCEL", "warp")
	var tl tools
	if err := tl.choose(t.Context(), "warp"); err == nil || !strings.Contains(err.Error(), `got "warp", want kvm or tcg`) {
		t.Errorf("got %v", err)
	}
}

func TestProofIsKeptForThisBootAndVersion(t *testing.T) {
	dir := t.TempDir()
	found := tools{QEMU: "/q", Image: "/i", Version: "QEMU 7.2.22", BootID: "b1", Stamp: "s1", Accel: accelTCG, Detail: "why", Sandbox: true}
	keepProof(dir, found)
	now := tools{QEMU: "/q", Image: "/i", BootID: "b1", Stamp: "s1"}
	if got, ok := keptProof(dir, now); !ok || got != found {
		t.Errorf("got %+v, %v, want %+v", got, ok, found)
	}
	for name, changed := range map[string]tools{
		"another boot":    {QEMU: "/q", BootID: "b2", Stamp: "s1"},
		"another program": {QEMU: "/q", BootID: "b1", Stamp: "s2"},
		"no boot id":      {QEMU: "/q", Stamp: "s1"},
		"no stamp":        {QEMU: "/q", BootID: "b1"},
	} {
		if _, ok := keptProof(dir, changed); ok {
			t.Errorf("%s: the proof still holds", name)
		}
	}
	os.WriteFile(filepath.Join(dir, proofName), []byte("{garbage"), 0o600)
	if _, ok := keptProof(dir, now); ok {
		t.Error("a damaged proof holds")
	}
}

// The real QEMU, if it is here: no image is needed for a probe.
func TestProbe(t *testing.T) {
	needProgram(t)
	began := time.Now()
	info, err := New(Config{TemplateDir: t.TempDir()}).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v in %v", info, time.Since(began))
	if info.Accel != accelKVM && (info.Accel != accelTCG || info.Detail == "") {
		t.Errorf("got %+v, want kvm, or tcg with a reason", info)
	}
}

// needProgram skips the test if QEMU is not installed, unless ASSAY_MUST_RUN
// says that it must be.
func needProgram(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(binaryName()); err != nil {
		skip(t, err.Error())
	}
}

// skip skips the test for a reason, or fails it if ASSAY_MUST_RUN names qemu.
func skip(t *testing.T, reason string) {
	t.Helper()
	for name := range strings.SplitSeq(os.Getenv("ASSAY_MUST_RUN"), ",") {
		if name == "qemu" {
			t.Fatal("qemu must run: " + reason)
		}
	}
	t.Skip(reason)
}
