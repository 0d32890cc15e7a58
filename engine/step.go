package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/vm"
)

// errVerb stops an evaluation that only plans at the first verb.
var errVerb = errors.New("a verb was called")

// bind makes b callable by the session's script. Every call of every verb goes
// through here: it is timed, recorded, bounded by the cell's deadline, and its
// error says whose doing it was.
func (s *Session) bind(b Builtin) *starlark.Builtin {
	return starlark.NewBuiltin(b.Name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := s.ctx.Err(); err != nil {
			return nil, context.Cause(s.ctx)
		}
		if b.value {
			return b.run(s, args, kwargs)
		}
		if s.planning() {
			return nil, errVerb
		}
		s.beginStep(b.Name, scriptPosition(t.CallStack()))
		v, err := b.run(s, args, kwargs)
		s.endStep(err)
		return v, err
	})
}

// run calls b and freezes what it returns.
func (b Builtin) run(s *Session, args starlark.Tuple, kwargs []starlark.Tuple) (v starlark.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &InfraError{Err: fmt.Errorf("%s: panic: %v", b.Name, r), Detail: string(debug.Stack())}
		}
	}()
	again := roomy()
	v, err = b.call(s.ctx, s, args, kwargs)
	again()
	if err != nil {
		return nil, typed(err)
	}
	v.Freeze()
	return v, nil
}

// typed makes an error of a verb that says not whose doing it was one of ours.
func typed(err error) error {
	var (
		subject *SubjectError
		infra   *InfraError
		script  *ScriptError
		boot    *vm.BootError
		eval    *starlark.EvalError
	)
	switch {
	case errors.As(err, &subject), errors.As(err, &infra), errors.As(err, &script),
		errors.As(err, &boot), errors.As(err, &eval), errors.Is(err, errors.ErrUnsupported):
		return err
	}
	return &InfraError{Err: err}
}

// scriptPosition returns the innermost position of stack in the user's own
// files, else in a module of the standard library.
func scriptPosition(stack starlark.CallStack) string {
	fallback := ""
	for i := range stack {
		pos := stack.At(i).Pos
		switch {
		case !pos.IsValid() || pos.Filename() == builtinFile:
		case !strings.HasPrefix(pos.Filename(), stdlibPrefix):
			return fmt.Sprintf("%s:%d", pos.Filename(), pos.Line)
		case fallback == "":
			fallback = fmt.Sprintf("%s:%d", pos.Filename(), pos.Line)
		}
	}
	return fallback
}

// maxSteps bounds how many steps a cell may record.
const maxSteps = 10_000

func (s *Session) beginStep(verb, position string) {
	s.mu.Lock()
	step := assay.Step{Seq: len(s.cell.Steps) + 1, Verb: verb, Position: position, Start: seconds(s.began)}
	s.cell.Steps = append(s.cell.Steps, step)
	s.open = append(s.open, len(s.cell.Steps)-1)
	if len(s.cell.Steps) > maxSteps {
		s.cancel(Scriptf("script called more than %d verbs", maxSteps))
	}
	s.mu.Unlock()
	s.emit(Event{Kind: StepStart, Step: &step})
}

func (s *Session) endStep(err error) {
	s.edit(func(step *assay.Step) {
		step.Seconds = round(seconds(s.began) - step.Start)
		if err != nil {
			step.Error = err.Error()
		}
	})
	step := s.current()
	s.mu.Lock()
	s.open = s.open[:len(s.open)-1]
	s.mu.Unlock()
	s.emit(Event{Kind: StepEnd, Step: step})
}

// Describe says what the running step is about: detail is what a person reads,
// machine the id of the machine, if there is one. The live view shows it at once.
func (s *Session) Describe(detail, machine string) {
	s.edit(func(step *assay.Step) { step.Detail, step.Machine = detail, machine })
	s.Phase("")
}

// AddExec stores what the running step's command did.
func (s *Session) AddExec(x assay.Exec) { s.edit(func(step *assay.Step) { step.Exec = &x }) }

// edit changes the running step, if there is one.
func (s *Session) edit(f func(*assay.Step)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		f(&s.cell.Steps[s.open[len(s.open)-1]])
	}
}

// current returns a copy of the running step, or nil.
func (s *Session) current() (step *assay.Step) {
	s.edit(func(now *assay.Step) {
		c := *now
		step = &c
	})
	return step
}

// Seq returns the number of the running step, or 0.
func (s *Session) Seq() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq()
}

// seconds is the time since t, to the millisecond.
func seconds(t time.Time) float64 { return round(time.Since(t).Seconds()) }

func round(s float64) float64 { return math.Round(s*1000) / 1000 }
