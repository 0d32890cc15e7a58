package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"assay/vm"
)

// A Visit is what machines have in common whose guest is reached through an
// Inside, over the guest's own network: the line, the turn, and a firewall where
// the cable cannot be pulled. Its fields are set before its first use.
type Visit struct {
	*Inside
	*Turn
	Spec vm.Spec

	// Found is the state in which an adopted machine was; "" if the machine is ours.
	Found string
	// Kept: the hypervisor itself keeps the guest from networks that it shall not have.
	Kept bool

	cut bool // the cable is pulled; with the turn
}

// Open reports whether the guest has a network when the cable is plugged in. An
// adopted one has what its user gave it.
func (v *Visit) Open() bool { return v.Found != "" || v.Spec.Network.Mode == vm.NetworkOpen }

func (v *Visit) fenced() bool { return v.cut || !v.Open() && !v.Kept }

// Booted puts the firewall up in a guest that has just booted, if it needs one.
func (v *Visit) Booted(ctx context.Context) error {
	if !v.fenced() {
		return nil
	}
	return v.Firewall(ctx, true)
}

// Fence puts the firewall up or takes it down, as it shall be now.
func (v *Visit) Fence(ctx context.Context) error { return v.Firewall(ctx, v.fenced()) }

// SetLink implements vm.Networker. The cable cannot be pulled, for the line goes
// over it: a firewall in the guest lets nothing else through.
func (v *Visit) SetLink(ctx context.Context, up bool) error {
	ctx, give, err := v.Take(ctx)
	if err != nil {
		return err
	}
	defer give()
	v.cut = !up
	return v.Fence(ctx)
}

// Leave takes everything out of an adopted guest, which must run.
func (v *Visit) Leave(ctx context.Context) error {
	if v.cut {
		v.cut = false
		if err := v.Fence(ctx); err != nil {
			return err
		}
	}
	return Leave(ctx, v.Inside)
}

// Finish closes the machine: the line, then what undo does, then its folder. It is
// idempotent, waits for what is being done, and takes no longer than limit after
// that.
func (v *Visit) Finish(limit time.Duration, undo func(context.Context) error) error {
	v.Inside.Close()
	first, give := v.End()
	defer give()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return errors.Join(undo(ctx), os.RemoveAll(v.Spec.Dir))
}

// Ours reports whether a hypervisor's machine of that name is assay's, whoever
// owns it.
func Ours(name string) bool { return strings.HasPrefix(name, prefix) }

// Gone takes no offence at what is not there any more.
func Gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Failed is the error of a launch that made nothing: it says which machine of
// which driver, and takes the machine's folder away.
func Failed(driver, machine string, spec vm.Spec, err error) error {
	return errors.Join(fmt.Errorf("%s: %s: %w", driver, machine, err), os.RemoveAll(spec.Dir))
}
