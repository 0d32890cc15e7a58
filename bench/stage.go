//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"assay/vm"
)

// A Stage is what contestants share: the image, folders, and machines that stay
// for the whole run. What is started on it ends with it.
type Stage struct {
	home    string
	assay   string // the command that is measured, absolute
	version string // its own word
	agent   string
	dir     string // private, short enough for sockets
	lock    *os.File
	image   vm.Image
	say     func(line string)

	ends   []func() error // of the whole run
	scene  []func() error // of the subject that is measured
	plain  *plain         // see sharedPlain
	domain *domain        // see sharedDomain
	state  *savedState    // see sharedState
}

// newStage makes a stage with nothing on it. The caller closes it.
func newStage(o options, say func(string)) (*Stage, error) {
	program, err := filepath.Abs(o.assay)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("assay: %w; run \"make build\"", err)
	}
	home, err := filepath.Abs(o.home)
	if err != nil {
		return nil, err
	}
	if err := sweepStages(os.TempDir(), say); err != nil {
		say("sweeping: " + err.Error())
	}
	dir, err := os.MkdirTemp("", stagePrefix)
	if err != nil {
		return nil, err
	}
	lock, err := holdStage(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Stage{home: home, assay: program, agent: o.agent, dir: dir, lock: lock, say: say}, nil
}

// prepare asks assay who it is and builds the images that the subjects need.
func (st *Stage) prepare(ctx context.Context, chosen []Subject) (err error) {
	st.version, err = st.command(ctx, st.assay, "version")
	if err != nil {
		return err
	}
	st.image, err = peerImage(ctx, st.home, st.agent, func(phase string) { st.say(imageName + ": " + phase) })
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	var names []string
	for _, s := range chosen {
		names = append(names, s.Images...)
	}
	if len(names) == 0 {
		return nil
	}
	_, err = st.command(ctx, st.assay, append([]string{"image", "build"}, slices.Compact(names)...)...)
	return err
}

// atEnd has fn called when the run ends, latest first.
func (st *Stage) atEnd(fn func() error) { st.ends = append(st.ends, fn) }

// afterwards has fn called when the subject is done, latest first.
func (st *Stage) afterwards(fn func() error) { st.scene = append(st.scene, fn) }

// clear ends what was started for one subject.
func (st *Stage) clear() error {
	err := callAll(st.scene)
	st.scene = nil
	return err
}

// close ends everything and removes the stage's files.
func (st *Stage) close() error {
	err := errors.Join(st.clear(), callAll(st.ends))
	st.ends = nil
	return errors.Join(err, os.RemoveAll(st.dir), st.lock.Close())
}

func callAll(list []func() error) (err error) {
	for _, fn := range slices.Backward(list) {
		err = errors.Join(err, fn())
	}
	return err
}

// folder makes a new folder on the stage.
func (st *Stage) folder(name string) (string, error) { return os.MkdirTemp(st.dir, name+"-") }

// A player is a contestant in the middle of a subject.
type player struct {
	result Result
	sample Sampler
	reps   int
}

// perform measures the subjects, one after the other, each contestant n times or,
// where that is 0, as often as the subject says.
func (st *Stage) perform(ctx context.Context, chosen []Subject, n int) (Report, error) {
	r := newReport(versionOf(st.version))
	for _, s := range chosen {
		r.Results = append(r.Results, st.subject(ctx, s, n)...)
		if err := st.clear(); err != nil {
			return r, fmt.Errorf("%s: cleaning up: %w", s.Name, err)
		}
		if err := context.Cause(ctx); err != nil {
			return r, err
		}
	}
	r.Seconds = time.Since(r.Started).Seconds()
	return r, nil
}

// subject lets the contestants take turns.
func (st *Stage) subject(ctx context.Context, s Subject, n int) []Result {
	var players []*player
	for _, c := range s.Contestants {
		if ctx.Err() != nil {
			break
		}
		players = append(players, st.ready(ctx, s, c, n))
	}
	for rep := range slices.Max(append(each(players, func(p *player) int { return p.reps }), 0)) {
		for _, p := range players {
			p.play(ctx, st, rep)
		}
	}
	return each(players, func(p *player) Result {
		p.result.Seconds = time.Since(p.result.Started).Seconds()
		return p.result
	})
}

// ready gets a contestant ready. Unless it is slow it goes once before it counts,
// so that what is made once and kept is there.
func (st *Stage) ready(ctx context.Context, s Subject, c Contestant, n int) *player {
	st.say(fmt.Sprintf("%s: %s gets ready", s.Name, c.Name))
	p := &player{result: Result{Subject: s, Contestant: c.Name, What: c.What, Started: time.Now()}, reps: cmp.Or(n, c.reps(s.Reps))}
	sample, err := c.Open(ctx, st)
	p.sample = sample
	if err == nil && !c.Slow {
		_, err = p.once(ctx, st)
	}
	p.fail(err, st)
	return p
}

func each[A, B any](list []A, of func(A) B) []B {
	var got []B
	for _, a := range list {
		got = append(got, of(a))
	}
	return got
}

// once does one repetition, and tries it again if it fails: a contestant's own
// deadlines may be too short for a host that is busy just then.
func (p *player) once(ctx context.Context, st *Stage) (Sample, error) {
	sample, err := p.try(ctx)
	if err != nil && ctx.Err() == nil {
		st.say(fmt.Sprintf("%s: %s: trying again: %v", p.result.Subject.Name, p.result.Contestant, err))
		p.result.Retries++
		sample, err = p.try(ctx)
	}
	return sample, err
}

// try does one repetition in its deadline.
func (p *player) try(ctx context.Context) (Sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sampleDeadline, fmt.Errorf("not done after %v", sampleDeadline))
	defer cancel()
	sample, err := p.sample(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return sample, err
}

// play does one repetition that counts.
func (p *player) play(ctx context.Context, st *Stage, rep int) {
	if rep >= p.reps || p.result.Problem != "" || ctx.Err() != nil {
		return
	}
	busy := busySeconds()
	sample, err := p.once(ctx, st)
	if err != nil {
		p.fail(err, st)
		return
	}
	p.result.add(sample, busySeconds()-busy, loadAverage())
	st.say(fmt.Sprintf("%s: %s: repetition %d: %s", p.result.Subject.Name, p.result.Contestant, rep+1, sample.text(p.result.Subject)))
}

// fail notes why the contestant could not be measured.
func (p *player) fail(err error, st *Stage) {
	if err == nil {
		return
	}
	p.result.Problem = err.Error()
	st.say(fmt.Sprintf("%s: %s: %v", p.result.Subject.Name, p.result.Contestant, err))
}
