package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay/drivers/internal/cli"
)

// The accelerators that this driver knows.
const (
	accelKVM = "kvm"
	accelTCG = "tcg"
)

// proofMax is how long the tiny guest may take, and the daemon to see its end.
const proofMax = 20 * time.Second

// domainType is what libvirt calls an accelerator.
func domainType(accel string) string {
	if accel == accelKVM {
		return "kvm"
	}
	return "qemu"
}

// chooseAccel picks KVM if it proves itself, or what ASSAY_ACCEL says.
func (s *site) chooseAccel(ctx context.Context, home string) error {
	forced := os.Getenv("ASSAY_ACCEL")
	switch forced {
	case "":
		why := s.proveKVM(ctx, home)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.accel, s.detail = accelKVM, "a tiny guest ran"
		if why != nil {
			s.accel, s.detail = accelTCG, "no KVM: "+why.Error()
		}
	case accelKVM:
		if err := s.proveKVM(ctx, home); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return unavailable("ASSAY_ACCEL=kvm: "+err.Error(), "unset ASSAY_ACCEL")
		}
		s.accel, s.detail = forced, "ASSAY_ACCEL=kvm, and a tiny guest ran"
	case accelTCG:
		s.accel, s.detail = forced, "ASSAY_ACCEL="+forced
	default:
		return unavailable(fmt.Sprintf("ASSAY_ACCEL: got %q, want kvm or tcg", forced), "")
	}
	return nil
}

// flags asks the host's processor and its kernel. What they say proves nothing
// if it is yes: on some hosts KVM opens, answers, and its guests hang.
const flags = `grep -qw -e vmx -e svm /proc/cpuinfo || { echo "this processor shows neither vmx nor svm"; exit; }
[ -e /dev/kvm ] || echo "there is no /dev/kvm"`

// proveKVM says why KVM cannot be used, nil if it can. What a tiny guest proved
// holds until the host boots again, or libvirt is another.
func (s *site) proveKVM(ctx context.Context, home string) error {
	no, err := s.sh(ctx, nil, flags)
	if err != nil {
		return err
	}
	if no != "" {
		return errors.New(no)
	}
	p := proof{path: s.proofPath(home), Version: s.version}
	if p.Boot, err = s.sh(ctx, nil, `cat /proc/sys/kernel/random/boot_id`); err != nil {
		return err
	}
	if p.kept() {
		return nil
	}
	if err := s.runTinyGuest(ctx, accelKVM); err != nil {
		return fmt.Errorf("a tiny guest did not run: %w", err)
	}
	p.keep()
	return nil
}

// proofPath names the file in which a proof is kept.
func (s *site) proofPath(home string) string {
	if home == "" {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/:?@=&", r) {
			return '-'
		}
		return r
	}, s.uri)
	return filepath.Join(home, "drivers", "libvirt", "kvm."+name+".json")
}

// A proof that KVM works, and for what it holds.
type proof struct {
	path    string
	Boot    string `json:"boot_id"`
	Version string `json:"version"`
}

// kept reports whether the same was proved before.
func (p proof) kept() bool {
	old := proof{path: p.path}
	data, err := os.ReadFile(p.path)
	return err == nil && json.Unmarshal(data, &old) == nil && old == p && p.Boot != ""
}

// keep saves the proof. It is only a saving of time, so it may fail.
func (p proof) keep() {
	data, err := json.Marshal(p)
	if err != nil || p.path == "" || os.MkdirAll(filepath.Dir(p.path), 0o700) != nil {
		return
	}
	_ = os.WriteFile(p.path, data, 0o600) // half a proof is none
}

// tinyGuest is a firmware whose reset vector tells the host's panic device that
// the guest has crashed: mov al, 1; mov dx, 0x505; out dx, al; hlt; jmp back.
func tinyGuest() []byte {
	rom := make([]byte, 64<<10)
	copy(rom[len(rom)-16:], []byte{0xb0, 1, 0xba, 0x05, 0x05, 0xee, 0xf4, 0xeb, 0xfd})
	return rom
}

// tinyDomain runs the firmware %[3]s, and is gone when it has said its word.
const tinyDomain = `<domain type='%[1]s'>
  <name>%[2]s</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>%[3]s</loader></os>
  <on_crash>destroy</on_crash>
  <devices><controller type='usb' model='none'/><panic model='isa'/><memballoon model='none'/></devices>
</domain>
`

// runTinyGuest returns nil if the guest's word came out in time.
func (s *site) runTinyGuest(ctx context.Context, accel string) error {
	rom, err := s.sh(ctx, bytes.NewReader(tinyGuest()), `d=$(mktemp -d "${TMPDIR:-/tmp}/assay-XXXXXX") && chmod 755 "$d" && cat >"$d/rom" && chmod 644 "$d/rom" && echo "$d"`)
	if err != nil {
		return err
	}
	defer s.sh(context.WithoutCancel(ctx), nil, `rm -rf "$1"`, rom)
	name := cli.Name("probe", newUUID()[:8])
	text := fmt.Sprintf(tinyDomain, domainType(accel), name, rom+"/rom")
	dir, err := os.MkdirTemp("", socketPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "probe.xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, proofMax, fmt.Errorf("no answer in %v", proofMax))
	defer cancel()
	defer s.remove(context.WithoutCancel(ctx), name, place{}) // its log is there even if it did not start
	if _, err := s.virsh.Run(context.WithoutCancel(ctx), "create", file); err != nil {
		return err
	}
	return cli.Until(ctx, "the guest's word", func(ctx context.Context) (bool, error, error) {
		_, err := s.virsh.Run(ctx, "domstate", name)
		return missing(err), err, nil
	})
}

// lines splits what virsh prints, without what is empty.
func lines(out string) []string {
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}
