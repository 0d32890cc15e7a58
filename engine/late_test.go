package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"assay"
	"assay/engine"
	"assay/vm"
)

// A slow driver needs long to come back from a launch that was cancelled, and its
// machines to close.
type slow struct {
	vm.Driver
	launching chan struct{} // is told of each launch
	lag       time.Duration
	stuck     *atomic.Bool // Close fails
	open      *atomic.Int32
}

func (d slow) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.Driver.Launch(ctx, spec)
	if err != nil {
		return nil, err
	}
	d.open.Add(1)
	d.launching <- struct{}{}
	if d.lag > 0 {
		<-ctx.Done()
		time.Sleep(d.lag)
	}
	return slowMachine{m, d}, nil
}

type slowMachine struct {
	vm.Machine
	d slow
}

func (m slowMachine) Unwrap() vm.Machine { return m.Machine }

func (m slowMachine) Close() error {
	if m.d.stuck.Load() {
		return errors.New("the hypervisor is away")
	}
	m.d.open.Add(-1)
	return m.Machine.Close()
}

func (d slow) Sweep(context.Context, string) (int, error) {
	if d.stuck.Load() {
		return 0, errors.New("the hypervisor is away")
	}
	return int(d.open.Swap(0)), nil
}

func newSlow(f *fixture, lag time.Duration) slow {
	d := slow{f.env.Drivers[0], make(chan struct{}, 1), lag, &atomic.Bool{}, &atomic.Int32{}}
	f.env.Drivers = []vm.Driver{d}
	return d
}

// TestLateLaunch proves that a machine which comes up after its launch was
// cancelled, later than the script is waited for, is closed all the same.
func TestLateLaunch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "launch()")
	d := newSlow(f, 3*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-d.launching
		cancel()
	}()
	if _, err := f.run(ctx); !errors.Is(err, engine.ErrInterrupted) {
		t.Errorf("got %v, want ErrInterrupted", err)
	}
	if n := d.open.Load(); n != 0 {
		t.Errorf("got %d machines that live on, want 0", n)
	}
}

// TestUnclosedIsRemembered proves that a machine that could not be closed is
// found again once its hypervisor is back.
func TestUnclosedIsRemembered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "launch()")
	d := newSlow(f, 0)
	d.stuck.Store(true)
	run, err := engine.Run(t.Context(), f.env, f.opt, &f.rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.want(run.Cells[0], assay.Error, assay.InfraFailure, `the hypervisor is away; "assay gc" tries again`)
	if dead := engine.DeadRuns(f.env.StateDir); len(dead) != 1 || dead[0] != run.ID {
		t.Fatalf("got dead runs %q, want %s", dead, run.ID)
	}
	if _, err := engine.Collect(t.Context(), f.env.Drivers, f.env.StateDir, run.ID); err == nil {
		t.Error("collected without the hypervisor")
	}
	d.stuck.Store(false)
	if n, err := engine.Collect(t.Context(), f.env.Drivers, f.env.StateDir, run.ID); n != 1 || err != nil {
		t.Errorf("got %d, %v, want the machine", n, err)
	}
	if dead := engine.DeadRuns(f.env.StateDir); len(dead) != 0 {
		t.Errorf("got dead runs %q, want none", dead)
	}
}
