//go:build linux

package main

import (
	"context"
	"strconv"
)

// execTimes is how many commands one repetition runs.
const execTimes = 10

// execSubject asks how long a command takes that does nothing.
func execSubject() Subject {
	return Subject{
		Name: "exec", Reps: 5,
		Measures: []Measure{{Name: "exec", Title: "true, run in a machine that is there", Unit: "s"}},
		Contestants: []Contestant{
			{Name: "assay", What: "exec() of a script, by its step times, but for the first", Open: openExec},
			{Name: "ssh", What: "ssh over an open ControlMaster, a process for each command", Open: openExecSSH},
			{Name: "guest agent", What: "guest-exec of QEMU's guest agent on its socket, its status asked for every millisecond", Open: openExecAgent},
		},
	}
}

func openExec(_ context.Context, st *Stage) (Sampler, error) {
	return func(ctx context.Context) (Sample, error) {
		got, err := st.script(ctx, "exec.star", append(onImage(), "-p", "times="+strconv.Itoa(execTimes+1))...)
		if err != nil {
			return nil, err
		}
		steps, err := got.need("exec", execTimes+1)
		if err != nil {
			return nil, err
		}
		s := Sample{}
		for _, step := range steps[1:] {
			s["exec"] = append(s["exec"], step.Seconds)
		}
		return s, nil
	}, nil
}

func openExecSSH(ctx context.Context, st *Stage) (Sampler, error) {
	p, err := st.sharedPlain(ctx)
	if err != nil {
		return nil, err
	}
	m, err := p.openMaster(ctx)
	if err != nil {
		return nil, err
	}
	st.afterwards(m.close)
	return repeat("exec", execTimes, func(ctx context.Context) error { _, err := m.run(ctx, "true"); return err }), nil
}

func openExecAgent(ctx context.Context, st *Stage) (Sampler, error) {
	p, err := st.sharedPlain(ctx)
	if err != nil {
		return nil, err
	}
	return repeat("exec", execTimes, p.runTrue), nil
}

// repeat makes a sampler that times something short several times.
func repeat(measure string, times int, do func(context.Context) error) Sampler {
	return func(ctx context.Context) (Sample, error) {
		s := Sample{}
		for range times {
			took, err := seconds(func() error { return do(ctx) })
			if err != nil {
				return nil, err
			}
			s[measure] = append(s[measure], took)
		}
		return s, nil
	}
}
