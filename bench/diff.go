//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// diffSubject asks how long it takes to learn what the installation of a package
// did.
func diffSubject() Subject {
	return Subject{
		Name: "diff", Reps: 3,
		Measures: []Measure{
			{Name: "before", Title: "the state before an installation is noted", Unit: "s"},
			{Name: "after", Title: "the state after it is noted, and what changed is told", Unit: "s"},
		},
		Contestants: []Contestant{
			{Name: "assay", What: "capture(), then capture() and diff() of a script, by their step times: files, packages, processes, units, …", Open: openDiff},
			{Name: "find, dpkg, ps", What: "find of the home folder, dpkg -l and ps aux over ssh, then the same and diff: by hand", Open: openByHand("/home/" + sshUser)},
			{Name: "find /, dpkg, ps", What: "the same with all of the disk: names of files and no more", Open: openByHand("/ -xdev")},
			{Name: "aide", What: "aide --init, then aide --check, in the guest: files with their SHA-256, nothing else", Slow: true, Open: openAIDE},
		},
	}
}

func openDiff(_ context.Context, st *Stage) (Sampler, error) {
	return func(ctx context.Context) (Sample, error) {
		got, err := st.script(ctx, "diff.star", onImage()...)
		if err != nil {
			return nil, err
		}
		captures, err := got.need("capture", 2)
		if err != nil {
			return nil, err
		}
		diffs, err := got.need("diff", 1)
		if err != nil {
			return nil, err
		}
		return Sample{"before": {captures[0].Seconds}, "after": {captures[1].Seconds + diffs[0].Seconds}}, nil
	}, nil
}

// install is what changes the machine.
const install = "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y jq >/dev/null"

// afterInstall makes a sampler of two ways to look at the shared machine: one
// before a package is installed and one after.
func afterInstall(p *plain, before, after func(context.Context, *master) error) Sampler {
	return func(ctx context.Context) (s Sample, err error) {
		if err := p.human(ctx, "loadvm clean"); err != nil {
			return nil, err
		}
		m, err := p.openMaster(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, m.close()) }()
		first, err := seconds(func() error { return before(ctx, m) })
		if err != nil {
			return nil, err
		}
		if _, err := m.run(ctx, install); err != nil {
			return nil, err
		}
		second, err := seconds(func() error { return after(ctx, m) })
		return Sample{"before": {first}, "after": {second}}, err
	}
}

// openByHand looks at a machine with the commands of people who have nothing
// else: each over ssh, compared on the host.
func openByHand(where string) func(context.Context, *Stage) (Sampler, error) {
	return func(ctx context.Context, st *Stage) (Sampler, error) {
		p, err := st.sharedPlain(ctx)
		if err != nil {
			return nil, err
		}
		dir, err := st.folder("lists")
		if err != nil {
			return nil, err
		}
		st.afterwards(remove(dir))
		lists := lists{dir, []string{"sudo find " + where + " -type f", "dpkg -l", "ps aux"}}
		return afterInstall(p,
			func(ctx context.Context, m *master) error { return lists.take(ctx, m, "before") },
			func(ctx context.Context, m *master) error {
				if err := lists.take(ctx, m, "after"); err != nil {
					return err
				}
				return lists.compare(ctx)
			}), nil
	}
}

// lists are what commands print, before and after, in files of the host.
type lists struct {
	dir      string
	commands []string
}

func (l lists) file(when string, i int) string { return fmt.Sprintf("%s/%s-%d.txt", l.dir, when, i) }

// take runs the commands and keeps what they print.
func (l lists) take(ctx context.Context, m *master, when string) error {
	for i, command := range l.commands {
		text, err := m.run(ctx, command)
		if err == nil {
			err = writeText(l.file(when, i), text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare runs diff over each pair. The list of packages must show the new one.
func (l lists) compare(ctx context.Context) error {
	var all strings.Builder
	for i := range l.commands {
		out, err := exec.CommandContext(ctx, "diff", l.file("before", i), l.file("after", i)).Output()
		if failed := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &failed) && failed.ExitCode() == 1) {
			return fmt.Errorf("diff: %w", err)
		}
		all.Write(out)
	}
	return shows(all.String(), "jq")
}

// shows returns an error unless a contestant told of the package: one that is
// fast and sees nothing must not win.
func shows(told, name string) error {
	if !strings.Contains(told, name) {
		return fmt.Errorf("got nothing about %s in %d bytes, want it among the changes", name, len(told))
	}
	return nil
}

func openAIDE(ctx context.Context, st *Stage) (Sampler, error) {
	p, err := st.sharedPlain(ctx)
	if err != nil {
		return nil, err
	}
	return afterInstall(p,
		func(ctx context.Context, m *master) error {
			_, err := m.run(ctx, "sudo aide --config=/etc/bench-aide.conf --init")
			return err
		},
		func(ctx context.Context, m *master) error {
			// Its exit code has a bit for each kind of change.
			told, err := m.run(ctx, "sudo aide --config=/etc/bench-aide.conf --check; test $? -le 7")
			if err != nil {
				return err
			}
			return shows(told, "/usr/bin/jq")
		}), nil
}
