package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"assay"
	"assay/vm"
)

// A ScriptError says that the script is wrong: verdict error, exit code 2.
type ScriptError struct {
	Err       error
	Position  string // skill.star:12:5; empty: where the verb was called
	Backtrace string
}

func (e *ScriptError) Error() string {
	if e.Position == "" {
		return e.Err.Error()
	}
	return e.Position + ": " + e.Err.Error()
}

func (e *ScriptError) Unwrap() error { return e.Err }

// A SubjectError says that the software under test fell short: verdict fail,
// exit code 1.
type SubjectError struct {
	Err    error
	Detail string // more to read, such as the end of what the command printed
}

func (e *SubjectError) Error() string { return e.Err.Error() }
func (e *SubjectError) Unwrap() error { return e.Err }

// An InfraError says that assay, the driver, the line or the host broke:
// verdict error, exit code 3. So does any error of a verb that is none of the
// other kinds.
type InfraError struct {
	Err    error
	Detail string // more to read, such as the console's tail; raw guest bytes
}

func (e *InfraError) Error() string { return e.Err.Error() }
func (e *InfraError) Unwrap() error { return e.Err }

// Scriptf returns a *ScriptError.
func Scriptf(format string, args ...any) error {
	return &ScriptError{Err: fmt.Errorf(format, args...)}
}

// judge says how a cell ended: err is what its script returned, and ctx is the
// cell's. It is the only place where errors become verdicts.
func judge(ctx context.Context, c *assay.Cell, err error) (assay.Verdict, *assay.Failure) {
	if err == nil {
		return judgeGrades(c)
	}
	f := &assay.Failure{Kind: kindOf(ctx, err), Message: oneLine(ctx, err), Detail: detail(err)}
	f.Position, f.Backtrace = position(err)
	f.Message, f.Backtrace = bounded(f.Message, maxMessage), bounded(f.Backtrace, maxBacktrace)
	if f.Kind == assay.SubjectFailure {
		return assay.Fail, f
	}
	return assay.Error, f
}

// judgeGrades is the verdict of a cell whose script ran to its end.
func judgeGrades(c *assay.Cell) (assay.Verdict, *assay.Failure) {
	verdict := assay.Pass
	if len(c.Steps) == 0 {
		verdict = assay.Skip // a script that does nothing has shown nothing
	}
	var failure *assay.Failure
	for _, g := range c.Grades {
		if assay.Worst(verdict, g.Verdict) == verdict {
			continue
		}
		verdict = g.Verdict
		failure = gradeFailure(g)
	}
	return verdict, failure
}

func gradeFailure(g assay.Grade) *assay.Failure {
	kind := assay.SubjectFailure
	switch g.Verdict {
	case assay.Error:
		kind = assay.InfraFailure
	case assay.Fail:
	default:
		return nil
	}
	msg := fmt.Sprintf("grade: %s: got %s (%.0f/100)", g.Subject, g.Letter, g.Score)
	for _, f := range g.Findings {
		if f.Waived == nil {
			msg += fmt.Sprintf("; worst finding: %s %s: %s", f.Severity, f.Rule, f.Message)
			break
		}
	}
	return &assay.Failure{Kind: kind, Message: msg}
}

// kindOf says whose doing err was. The user's interrupt outranks whatever it
// made fail.
func kindOf(ctx context.Context, err error) assay.FailureKind {
	var (
		subject *SubjectError
		infra   *InfraError
		script  *ScriptError
		boot    *vm.BootError
		eval    *starlark.EvalError
		syn     syntax.Error
		res     resolve.ErrorList
	)
	switch {
	case errors.Is(context.Cause(ctx), ErrInterrupted), errors.Is(err, ErrInterrupted):
		return assay.InterruptedFailure
	case errors.As(context.Cause(ctx), &script):
		return assay.ScriptFailure
	case ctx.Err() != nil, errors.As(err, &boot), errors.As(err, &infra):
		return assay.InfraFailure
	case errors.As(err, &subject):
		return assay.SubjectFailure
	case errors.As(err, &script), errors.Is(err, errors.ErrUnsupported):
		return assay.ScriptFailure
	case errors.As(err, &eval), errors.As(err, &syn), errors.As(err, &res):
		return assay.ScriptFailure
	}
	return assay.InfraFailure
}

// oneLine is what a failure says: the cause where the context ended, else the error's own.
func oneLine(ctx context.Context, err error) string {
	msg := err.Error()
	if cause := context.Cause(ctx); cause != nil {
		msg = cause.Error()
	}
	if e := (*starlark.EvalError)(nil); errors.As(err, &e) && ctx.Err() == nil {
		msg = e.Msg
	}
	first, _, _ := strings.Cut(strings.TrimSpace(msg), "\n")
	return first
}

func detail(err error) string {
	var (
		subject *SubjectError
		infra   *InfraError
		boot    *vm.BootError
	)
	switch {
	case errors.As(err, &subject):
		return subject.Detail
	case errors.As(err, &infra) && infra.Detail != "":
		return infra.Detail
	case errors.As(err, &boot):
		return string(boot.Console)
	}
	return ""
}

// position returns where in a script err came up, and how it came there.
func position(err error) (pos, backtrace string) {
	var (
		script *ScriptError
		eval   *starlark.EvalError
		syn    syntax.Error
		res    resolve.ErrorList
	)
	switch {
	case errors.As(err, &eval):
		return callerOf(eval.CallStack), eval.Backtrace()
	case errors.As(err, &syn):
		return syn.Pos.String(), ""
	case errors.As(err, &res):
		return res[0].Pos.String(), ""
	case errors.As(err, &script):
		return script.Position, script.Backtrace
	}
	return "", ""
}

// callerOf returns the innermost position of stack that lies in a script.
func callerOf(stack starlark.CallStack) string {
	for i := range stack {
		if pos := stack.At(i).Pos; pos.IsValid() && pos.Filename() != builtinFile {
			return pos.String()
		}
	}
	return ""
}

// builtinFile is the file name that starlark gives the frames of builtins.
const builtinFile = "<builtin>"

// asScriptError gives a script's error its position, for errors that come up
// while there is no cell to hold them.
func asScriptError(err error) error {
	kind := kindOf(context.Background(), err)
	pos, backtrace := position(err)
	if kind != assay.ScriptFailure || pos == "" {
		return err
	}
	msg := strings.TrimPrefix(oneLine(context.Background(), err), pos+": ")
	return &ScriptError{Err: errors.New(bounded(msg, maxMessage)), Position: pos, Backtrace: bounded(backtrace, maxBacktrace)}
}

// How much of what a script says of its failure is kept, in bytes.
const (
	maxMessage   = 2 << 10
	maxBacktrace = 8 << 10
)

// bounded cuts text in the middle: what it begins and ends with says most.
func bounded(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	head, tail := text[:limit/2], text[len(text)-limit/2:]
	return strings.ToValidUTF8(head, "") + fmt.Sprintf(" … %d bytes … ", len(text)-limit) + strings.ToValidUTF8(tail, "")
}
