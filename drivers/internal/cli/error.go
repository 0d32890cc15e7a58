package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"assay/vm"
)

// An Error is a call that failed. It matches its Kind and its Err.
type Error struct {
	Tool string
	Args []string // of the call; the first says what it was about
	Exit int      // -1: it did not exit by itself
	Said string   // the end of what it said, raw
	Kind error    // ErrFailed if nothing is known
	Err  error    // what ended the call, if not its own exit
	Fix  string   // what to do, if it is known
}

func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString(e.Tool)
	if len(e.Args) > 0 {
		fmt.Fprintf(&s, " %s", e.Args[0])
	}
	switch {
	case e.Err != nil:
		fmt.Fprintf(&s, ": %v", e.Err)
	case e.Kind != ErrFailed:
		fmt.Fprintf(&s, ": %v", e.Kind)
	default:
		fmt.Fprintf(&s, ": exit code %d", e.Exit)
	}
	if said := lastLines(e.Said); said != "" {
		fmt.Fprintf(&s, ": %s", said)
	}
	if e.Fix != "" {
		fmt.Fprintf(&s, "; %s", e.Fix)
	}
	return s.String()
}

// Unwrap lets errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// lastLines returns the end of what a tool said, in one line that can be printed.
func lastLines(s string) string {
	s = strings.Map(printable, strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " "))
	if len(s) > 300 {
		s = "…" + strings.ToValidUTF8(s[len(s)-300:], "")
	}
	return s
}

// judge says whether a call failed, and how.
func (t *Tool) judge(args []string, r Result, err error) error {
	p, found := t.match(r)
	if err == nil && r.Exit == 0 && !(found && p.Always) {
		return nil
	}
	said := r.Stderr
	if len(bytes.TrimSpace(said)) == 0 || p.Stdout {
		said = append(bytes.Clone(said), r.Stdout[max(0, len(r.Stdout)-maxSaid):]...)
	}
	e := &Error{Tool: t.Name, Args: args, Exit: r.Exit, Said: string(said), Kind: ErrFailed}
	if found {
		e.Kind, e.Fix = p.Kind, p.Fix
	}
	if r.Exit <= 0 {
		e.Err = err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		e.Err = err
	}
	return e
}

// match returns the first pattern that the result fits.
func (t *Tool) match(r Result) (Pattern, bool) {
	said, out := strings.ToLower(string(r.Stderr)), strings.ToLower(string(r.Stdout))
	for _, p := range t.Errors {
		text := strings.ToLower(p.Text)
		if strings.Contains(said, text) || p.Stdout && strings.Contains(out, text) {
			return p, true
		}
	}
	return Pattern{}, false
}

// belongsHere reports whether the tool can be installed on this host's system.
func (t *Tool) belongsHere() bool {
	return len(t.Systems) == 0 || slices.Contains(t.Systems, runtime.GOOS)
}

// Unavailable turns the error of a driver's first call into what Probe says.
func (t *Tool) Unavailable(err error) error {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err // of a user who went away nothing follows
	}
	reason := fmt.Sprintf("%s: %v", t.Name, e.Kind)
	switch {
	case errors.Is(e, ErrNotInstalled) && !t.belongsHere():
		return vm.Elsewhere(t.Driver, t.Systems)
	case errors.Is(e, ErrNotInstalled):
		reason = t.Name + " is not installed"
	case e.Kind == ErrFailed || e.Err != nil:
		reason = (&Error{Tool: e.Tool, Args: e.Args, Exit: e.Exit, Said: e.Said, Kind: e.Kind, Err: e.Err}).Error()
	}
	return &vm.UnavailableError{Driver: t.Driver, Reason: reason, Fix: e.Fix, Absent: errors.Is(e, ErrNotInstalled)}
}
