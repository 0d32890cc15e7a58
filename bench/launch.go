//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
)

// launchSubject asks how long it takes from nothing to the end of a machine's
// first command.
func launchSubject() Subject {
	return Subject{
		Name: "launch", Reps: 5,
		Measures: []Measure{{Name: "launch", Title: "from nothing to the end of the first command", Unit: "s"}},
		Contestants: []Contestant{
			{Name: "assay", What: "launch() and exec() of a script, by its step times: a clone of a template that is there", Open: openLaunch("no")},
			{Name: "assay, cold", What: "the same with launch(cold=True): the image boots", Slow: true, Open: openLaunch("yes")},
			{Name: "qemu -incoming", What: "overlay, qemu-system-x86_64 -incoming of a state saved with its guest agent running, /bin/true by that agent", Open: openIncoming},
			{Name: "qemu + ssh", What: "overlay, qemu-system-x86_64, ssh tried until it has run true", Slow: true, Open: openColdSSH},
			{Name: "libvirt", What: "overlay, virsh define and start, guest agent tried until it has run /bin/true", Slow: true, Open: openColdLibvirt},
			{Name: "autopkgtest", What: "autopkgtest-virt-qemu: start, open, and true by the command that it prints", Slow: true, Open: openColdTestbed},
		},
	}
}

func openLaunch(cold string) func(context.Context, *Stage) (Sampler, error) {
	return func(_ context.Context, st *Stage) (Sampler, error) {
		return func(ctx context.Context) (Sample, error) {
			got, err := st.script(ctx, "launch.star", append(onImage(), "-p", "cold="+cold)...)
			if err != nil {
				return nil, err
			}
			launch, err := got.need("launch", 1)
			if err != nil {
				return nil, err
			}
			first, err := got.need("exec", 1)
			if err != nil {
				return nil, err
			}
			return one("launch", first[0].Start+first[0].Seconds-launch[0].Start), nil
		}, nil
	}
}

// timed makes a sampler of something that is timed as a whole and then undone.
func timed(measure string, do func(context.Context) (undo func() error, err error)) Sampler {
	return func(ctx context.Context) (Sample, error) {
		var undo func() error
		took, err := seconds(func() (err error) { undo, err = do(ctx); return err })
		if undo != nil {
			err = errors.Join(err, undo())
		}
		return one(measure, took), err
	}
}

func openColdSSH(_ context.Context, st *Stage) (Sampler, error) {
	return timed("launch", func(ctx context.Context) (func() error, error) {
		p, err := st.startPlain(ctx, plainOptions{})
		if err != nil {
			return nil, err
		}
		return p.close, p.waitSSH(ctx)
	}), nil
}

func openColdLibvirt(ctx context.Context, st *Stage) (Sampler, error) {
	d, err := st.newDomain(ctx)
	if err != nil {
		return nil, err
	}
	st.afterwards(d.close)
	return timed("launch", func(ctx context.Context) (func() error, error) { return d.close, d.start(ctx) }), nil
}

func openColdTestbed(_ context.Context, st *Stage) (Sampler, error) {
	qemu, err := st.wrapper()
	if err != nil {
		return nil, err
	}
	return timed("launch", func(ctx context.Context) (func() error, error) {
		t, err := st.startTestbed(ctx, qemu)
		if err != nil {
			return nil, err
		}
		return t.close, t.first(ctx, st)
	}), nil
}

// first opens the machine and runs a first command in it.
func (t *testbed) first(ctx context.Context, st *Stage) error {
	if _, err := t.tell("open"); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	argv, err := t.execute()
	if err != nil {
		return err
	}
	_, err = st.command(ctx, argv[0], append(argv[1:], "true")...)
	return err
}
