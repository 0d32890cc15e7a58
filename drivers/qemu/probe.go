//go:build linux

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"assay/vm"

	"golang.org/x/sys/unix"
)

// The accelerators that this driver knows.
const (
	accelKVM = "kvm"
	accelTCG = "tcg"
)

const (
	versionTimeout = 20 * time.Second // for a program that only prints its version
	proofTimeout   = 3 * time.Second  // for nine bytes of code under KVM
	tcgTimeout     = 20 * time.Second // for the same without KVM, on a busy host
)

// tools are the programs of this host and how QEMU can run here.
type tools struct {
	QEMU    string `json:"qemu"` // path
	Image   string `json:"qemu_img"`
	Version string `json:"version"` // "QEMU 7.2.22"
	Accel   string `json:"accel"`
	Detail  string `json:"detail"` // why this accelerator
	Sandbox bool   `json:"sandbox"`
	BootID  string `json:"boot_id"`
	Stamp   string `json:"stamp"` // the program file's size and times: it is asked its version only when they are new
}

var versionLine = regexp.MustCompile(`^QEMU emulator version (\d+(?:\.\d+)+)`)

// parseVersion reads the first line of qemu-system-ARCH --version.
func parseVersion(out []byte) (string, error) {
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("version: got %.80q, want %q", out, "QEMU emulator version N.N")
	}
	return "QEMU " + string(m[1]), nil
}

// binaryName is the emulator of the host's own architecture.
func binaryName() string {
	if runtime.GOARCH == "arm64" {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// findTools looks for the programs.
func findTools() (tools, error) {
	var t tools
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		return t, unavailable("the driver runs on linux/amd64 hosts, not on "+runtime.GOOS+"/"+runtime.GOARCH, "")
	}
	var err error
	if t.QEMU, err = findQEMU(); err != nil {
		return t, err
	}
	if t.Image, err = exec.LookPath("qemu-img"); err != nil {
		return t, unavailable("qemu-img is not installed", "apt-get install qemu-utils")
	}
	t.BootID, t.Stamp = bootID(), stampOf(t.QEMU)
	return t, nil
}

// stampOf tells one version of a program file from another without running it;
// "" if nothing does.
func stampOf(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d %d %d %d", st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
}

// ask asks QEMU for its version.
func (t *tools) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, t.QEMU, "--version").Output()
	if err != nil {
		return unavailable(fmt.Sprintf("%s --version: %v", t.QEMU, err), "apt-get install --reinstall qemu-system-x86")
	}
	if t.Version, err = parseVersion(out); err != nil {
		return unavailable(t.QEMU+": "+err.Error(), "apt-get install --reinstall qemu-system-x86")
	}
	return nil
}

// findQEMU returns the emulator's path: ASSAY_QEMU, or the one on the PATH.
func findQEMU() (string, error) {
	if chosen := os.Getenv(qemuVariable); chosen != "" {
		path, err := exec.LookPath(chosen)
		if err != nil {
			return "", unavailable(qemuVariable+": "+err.Error(), "")
		}
		return filepath.Abs(path)
	}
	path, err := exec.LookPath(binaryName())
	if err != nil {
		return "", &vm.UnavailableError{Driver: "qemu", Reason: binaryName() + " is not installed", Fix: "apt-get install qemu-system-x86", Absent: true}
	}
	return path, nil
}

func unavailable(reason, fix string) error {
	return &vm.UnavailableError{Driver: "qemu", Reason: reason, Fix: fix}
}

// probe finds the tools once, and proves an accelerator once for each boot of
// the host: the proof is kept in a file of dir, if dir is not empty.
func probe(ctx context.Context, dir string) (tools, error) {
	t, err := findTools()
	if err != nil {
		return t, err
	}
	forced := os.Getenv("ASSAY_ACCEL")
	if forced == "" {
		if kept, ok := keptProof(dir, t); ok {
			return kept, nil
		}
	}
	if err := t.ask(ctx); err != nil {
		return t, err
	}
	if err := t.choose(ctx, forced); err != nil {
		return t, err
	}
	if forced == "" {
		keepProof(dir, t)
	}
	return t, nil
}

// choose picks the fastest accelerator that proved itself, or the forced one.
func (t *tools) choose(ctx context.Context, forced string) error {
	switch forced {
	case "":
		why := t.proveKVM(ctx)
		if why == nil {
			return nil
		}
		if err := t.proveTCG(ctx); err != nil {
			return err
		}
		t.Detail = "no KVM: " + why.Error()
		return nil
	case accelTCG:
		t.Detail = "ASSAY_ACCEL=tcg"
		return t.proveTCG(ctx)
	case accelKVM:
		if err := t.proveKVM(ctx); err != nil {
			return unavailable("ASSAY_ACCEL=kvm: "+err.Error(), "unset ASSAY_ACCEL")
		}
		return nil
	}
	return unavailable(fmt.Sprintf("ASSAY_ACCEL: got %q, want kvm or tcg", forced), "")
}

// proveKVM says why KVM cannot be used, nil if it can. A device that opens
// proves nothing: on some hosts it opens, answers, and guests hang.
func (t *tools) proveKVM(ctx context.Context) error {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	if !hasVirtualization(info) {
		return errors.New("this processor shows neither vmx nor svm")
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	if err := t.prove(ctx, accelKVM, proofTimeout); err != nil {
		return fmt.Errorf("a tiny guest did not run: %w", err)
	}
	t.Accel, t.Detail = accelKVM, "a tiny guest ran"
	return nil
}

// proveTCG runs the tiny guest without KVM, which shows that QEMU starts at all.
func (t *tools) proveTCG(ctx context.Context) error {
	if err := t.prove(ctx, accelTCG, tcgTimeout); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unavailable(fmt.Sprintf("%s cannot run a guest: %v", t.QEMU, err), "apt-get install --reinstall qemu-system-x86")
	}
	t.Accel = accelTCG
	return nil
}

// prove runs the tiny guest, in the sandbox if QEMU has one.
func (t *tools) prove(ctx context.Context, accel string, limit time.Duration) error {
	err := runTinyGuest(ctx, t.QEMU, accel, limit, "-sandbox", sandbox)
	if err == nil {
		t.Sandbox = true
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	t.Sandbox = false
	return runTinyGuest(ctx, t.QEMU, accel, limit)
}

var virtualization = regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`)

// hasVirtualization reads /proc/cpuinfo.
func hasVirtualization(cpuinfo []byte) bool { return virtualization.Match(cpuinfo) }

// exitPort is where the tiny guest writes its last word, and exitStatus what
// QEMU makes of that word: (word << 1) | 1.
const (
	exitPort   = 0xf4
	exitWord   = 0x10
	exitStatus = exitWord<<1 | 1
)

// tinyGuest is a firmware whose reset vector writes a word to the exit port:
// mov al, word; mov dx, port; out dx, al; hlt; jmp back.
func tinyGuest() []byte {
	rom := make([]byte, 64<<10)
	copy(rom[len(rom)-16:], []byte{0xb0, exitWord, 0xba, exitPort, 0x00, 0xee, 0xf4, 0xeb, 0xfd})
	return rom
}

// runTinyGuest returns nil if the guest's word came out before limit.
func runTinyGuest(ctx context.Context, qemu, accel string, limit time.Duration, more ...string) error {
	dir, err := os.MkdirTemp("", "assay-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rom := filepath.Join(dir, "rom")
	if err := os.WriteFile(rom, tinyGuest(), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := append([]string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "pc", "-m", "16", "-accel", accel, "-bios", rom,
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=4", exitPort)}, more...)
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("no answer in %v: %w", limit, ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitStatus {
		return nil
	}
	return fmt.Errorf("got %v, want exit status %d: %.400s", err, exitStatus, bytes.TrimSpace(said.Bytes()))
}

// proofName is the file that keeps what this boot's probe found.
const proofName = "accel.json"

// keptProof returns the proof of an earlier probe, if it is of this boot of the
// host and of these tools.
func keptProof(dir string, now tools) (tools, bool) {
	var kept tools
	data, err := os.ReadFile(filepath.Join(dir, proofName))
	if dir == "" || err != nil || json.Unmarshal(data, &kept) != nil {
		return now, false
	}
	same := kept.QEMU == now.QEMU && kept.Stamp == now.Stamp && now.Stamp != "" && kept.BootID == now.BootID && now.BootID != ""
	kept.Image = now.Image
	return kept, same && kept.Accel != "" && kept.Version != ""
}

// keepProof saves the proof. It is only a saving of time, so it may fail.
func keepProof(dir string, t tools) {
	if dir == "" || os.MkdirAll(dir, 0o700) != nil {
		return
	}
	if data, err := json.MarshalIndent(t, "", "  "); err == nil {
		writeFile(filepath.Join(dir, proofName), data)
	}
}

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// major is the first number of the version; 0 if it is not known.
func (t tools) major() int {
	var n int
	fmt.Sscanf(t.Version, "QEMU %d.", &n)
	return n
}
