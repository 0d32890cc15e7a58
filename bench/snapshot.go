//go:build linux

package main

import (
	"context"
	"fmt"
)

// snapshotSubject asks how long it takes to save a running machine and to go
// back to it.
func snapshotSubject() Subject {
	return Subject{
		Name: "snapshot", Reps: 5,
		Measures: []Measure{
			{Name: "snapshot", Title: "a running machine is saved, memory and disk", Unit: "s"},
			{Name: "restore", Title: "back to it, until the next command has run", Unit: "s"},
		},
		Contestants: []Contestant{
			{Name: "assay", What: "snapshot(), restore() and exec() of a script, by their step times", Open: openSnapshot},
			{Name: "savevm, loadvm", What: "QEMU's monitor, then /bin/true by QEMU's guest agent", Open: openSaveVM},
			{Name: "virsh", What: "virsh snapshot-create-as and snapshot-revert, then /bin/true by virsh qemu-agent-command", Open: openVirshSnapshot},
		},
	}
}

func openSnapshot(_ context.Context, st *Stage) (Sampler, error) {
	return func(ctx context.Context) (Sample, error) {
		got, err := st.script(ctx, "snapshot.star", onImage()...)
		if err != nil {
			return nil, err
		}
		saved, err := got.need("snapshot", 1)
		if err != nil {
			return nil, err
		}
		restored, err := got.need("restore", 1)
		if err != nil {
			return nil, err
		}
		execs, err := got.need("exec", 2)
		if err != nil {
			return nil, err
		}
		back := execs[1].Start + execs[1].Seconds - restored[0].Start
		return Sample{"snapshot": {saved[0].Seconds}, "restore": {back}}, nil
	}, nil
}

// saver is how a contestant saves a machine and goes back.
type saver struct {
	save, restore, forget func(context.Context) error
}

// sampler times both, and forgets the snapshot.
func (s saver) sampler() Sampler {
	return func(ctx context.Context) (Sample, error) {
		saved, err := seconds(func() error { return s.save(ctx) })
		if err != nil {
			return nil, err
		}
		restored, err := seconds(func() error { return s.restore(ctx) })
		if err != nil {
			return nil, err
		}
		return Sample{"snapshot": {saved}, "restore": {restored}}, s.forget(ctx)
	}
}

func openSaveVM(ctx context.Context, st *Stage) (Sampler, error) {
	p, err := st.sharedPlain(ctx)
	if err != nil {
		return nil, err
	}
	return saver{
		save: func(ctx context.Context) error { return p.human(ctx, "savevm bench") },
		restore: func(ctx context.Context) error {
			if err := p.human(ctx, "loadvm bench"); err != nil {
				return err
			}
			return p.runTrue(ctx)
		},
		forget: func(ctx context.Context) error { return p.human(ctx, "delvm bench") },
	}.sampler(), nil
}

func openVirshSnapshot(ctx context.Context, st *Stage) (Sampler, error) {
	d, err := st.sharedDomain(ctx)
	if err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	virsh := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := st.virsh(ctx, args...); return err }
	}
	revert := virsh("snapshot-revert", d.name, "bench")
	return saver{
		save: virsh("snapshot-create-as", d.name, "bench"),
		restore: func(ctx context.Context) error {
			if err := revert(ctx); err != nil {
				return err
			}
			return d.firstTrue(ctx)
		},
		forget: virsh("snapshot-delete", d.name, "bench"),
	}.sampler(), nil
}
