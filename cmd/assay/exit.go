package main

import (
	"errors"
	"fmt"
	"slices"

	"assay"
	"assay/engine"
	"assay/images"
)

// The exit codes.
const (
	exitPass        = 0 // passed, or warned
	exitFail        = 1 // the subject fell short
	exitUsage       = 2 // the command line or the script is wrong
	exitInfra       = 3 // assay, the hypervisor or the host broke
	exitInterrupted = 4
	exitNothing     = 5 // nothing ran
)

// exitHelp explains the exit codes.
const exitHelp = `Exit codes: 0 passed, 1 the subject fell short, 2 the command line or the
script is wrong, 3 the infrastructure broke, 4 interrupted, 5 nothing ran.`

// A usageError says that the command line is wrong: exit code 2.
type usageError struct {
	err  error
	hint string // what to type instead; may be empty
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(hint, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), hint}
}

// errNothing means that there is nothing to show or to run: exit code 5.
type nothingError struct{ text string }

func (e *nothingError) Error() string { return e.text }

// An exitError is a command that has said everything already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode maps an error to its exit code.
func exitCode(err error) int {
	var usage *usageError
	var nothing *nothingError
	var script *engine.ScriptError
	var unknown *images.NotFoundError
	var exit *exitError
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, engine.ErrInterrupted):
		return exitInterrupted
	case errors.As(err, &nothing), errors.Is(err, engine.ErrNothing):
		return exitNothing
	case errors.As(err, &usage), errors.As(err, &script):
		return exitUsage
	case errors.As(err, &unknown) && unknown.Next == "":
		return exitUsage
	}
	return exitInfra
}

// finish prints an error, if there is one, and returns the exit code.
func (a *app) finish(err error) int {
	code := exitCode(err)
	if exit := (*exitError)(nil); err == nil || errors.As(err, &exit) {
		return code
	}
	fmt.Fprintf(a.stderr, "assay: %s\n", clean(err.Error()))
	if script := (*engine.ScriptError)(nil); errors.As(err, &script) && script.Backtrace != "" {
		fmt.Fprintln(a.stderr, clean(script.Backtrace))
	}
	if usage := (*usageError)(nil); errors.As(err, &usage) && usage.hint != "" {
		fmt.Fprintln(a.stderr, usage.hint)
	}
	return code
}

// runCode is the exit code of a run that came to its end. Whose doing a failure
// was decides; a failure of ours hides one of the subject.
func runCode(run assay.Run) int {
	kinds := map[assay.FailureKind]bool{}
	verdicts := map[assay.Verdict]bool{}
	for _, c := range run.Cells {
		verdicts[c.Verdict] = true
		if c.Failure != nil {
			kinds[c.Failure.Kind] = true
		}
	}
	switch {
	case kinds[assay.InterruptedFailure]:
		return exitInterrupted
	case kinds[assay.ScriptFailure]:
		return exitUsage
	case kinds[assay.InfraFailure], verdicts[assay.Error]:
		return exitInfra
	case verdicts[assay.Fail]:
		return exitFail
	case !verdicts[assay.Pass] && !verdicts[assay.Warn]:
		return exitNothing
	}
	return exitPass
}

// A threshold is what --fail-on asks for: a letter, a severity, or nothing.
type threshold struct {
	letter   string
	severity assay.Severity
}

// reason says why a run falls short of the threshold; "" if it does not.
func (t threshold) reason(run assay.Run) string {
	for _, c := range run.Cells {
		for _, g := range c.Grades {
			if t.letter != "" && g.Letter > t.letter {
				return fmt.Sprintf("%s: grade %s of %s is worse than %s", c.ID, g.Letter, g.Subject, t.letter)
			}
			bad := slices.IndexFunc(g.Findings, func(f assay.Finding) bool {
				return t.severity != "" && f.Waived == nil && f.Severity.Rank() <= t.severity.Rank()
			})
			if bad >= 0 {
				return fmt.Sprintf("%s: finding %s of %s is %s", c.ID, g.Findings[bad].Rule, g.Subject, g.Findings[bad].Severity)
			}
		}
	}
	return ""
}
