package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"assay/engine"
	"assay/guest"
	"assay/vm"
)

// A freshMachine is one that belongs to no run.
type freshMachine struct {
	vm     vm.Machine
	client *guest.Client
	done   []func() error // what ends it, last first
}

// fresh launches a machine of an image, without a network, and enters it. It is an
// owner of its own, so that what a killed command leaves behind is swept. Close it
// also after an error.
func (a *app) fresh(ctx context.Context, image string, d vm.Driver, spec vm.Spec) (*freshMachine, error) {
	f := &freshMachine{}
	store, err := a.store()
	if err != nil {
		return f, err
	}
	if spec.Image, err = (imageSource{ctx, store, d}).Resolve(image); err != nil {
		return f, err
	}
	scratch, done, err := a.scratch(ctx)
	if err != nil {
		return f, err
	}
	f.later(func() error { done(); return nil })
	if spec.Dir, err = os.MkdirTemp(scratch, "shell-"); err != nil {
		return f, err
	}
	f.later(func() error { return os.RemoveAll(spec.Dir) })
	p := a.newProgress(image)
	spec.Name, spec.Owner, spec.Network.Mode, spec.Progress = "shell", filepath.Base(spec.Dir), vm.NetworkNone, p.phase
	f.vm, err = d.Launch(ctx, spec)
	p.close()
	if err != nil {
		return f, err
	}
	f.later(f.vm.Close)
	return f, f.enter(ctx)
}

// enter opens the line to the machine's agent.
func (f *freshMachine) enter(ctx context.Context) error {
	clock := engine.NewClock(f.vm, enterTime)
	ctx, cancel := clock.Context(ctx, func() error { return fmt.Errorf("no answer in %s%s", enterTime, clock.Told()) })
	defer cancel()
	conn, err := f.vm.Dial(ctx)
	if err != nil {
		return err
	}
	if f.client, err = guest.Connect(ctx, conn); err != nil {
		return err
	}
	f.later(f.client.Close)
	return nil
}

func (f *freshMachine) later(end func() error) { f.done = append(f.done, end) }

// Close ends the machine, and returns the first error of that.
func (f *freshMachine) Close() (first error) {
	for i := len(f.done) - 1; i >= 0; i-- {
		if err := f.done[i](); err != nil && first == nil {
			first = err
		}
	}
	f.done = nil
	return first
}
