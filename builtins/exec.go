package builtins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/engine"
	"assay/guest"
)

type execArgs struct {
	Machine *Machine          `star:"machine" help:"machine to run the command on"`
	Command command           `star:"command" help:"argv as a list, or a line for the guest's shell"`
	User    string            `star:"user?" help:"login name; default: Machine.user"`
	Env     map[string]string `star:"env?" help:"variables, over the user's login environment"`
	Cwd     string            `star:"cwd?" help:"folder to run in; default: the user's home"`
	Stdin   string            `star:"stdin?" help:"what the command reads"`
	Timeout engine.Duration   `star:"timeout?" help:"when to kill the command and all that it started"`
	Check   bool              `star:"check?" help:"the test fails unless the command exits with 0 in time"`
}

var exec = engine.Func("exec", "ExecResult",
	"Runs a command in a guest and waits for it to end. What it prints is shown while it runs.\n"+
		"What it leaves running behind is listed in the result's orphans.",
	execArgs{Timeout: engine.Duration(10 * time.Minute), Check: true}, runExec)

// answerTime is how much longer than the command's own timeout the agent may
// take to tell how it ended.
const answerTime = time.Minute

func runExec(ctx context.Context, s *engine.Session, a execArgs) (starlark.Value, error) {
	m := a.Machine
	s.Describe(a.Command.String(), m.vm.ID())
	timeout := time.Duration(a.Timeout)
	clock := engine.NewClock(m.vm, timeout)
	bounded, cancel := clock.Plus(answerTime).Context(ctx, func() error { return fmt.Errorf("no answer in %s%s", timeout+answerTime, clock.Told()) })
	defer cancel()
	out, errs := newOutput(s), newOutput(s)
	m.ran.Store(true)
	began := time.Now()
	var exit guest.Exit
	err := m.use(bounded, func(c *guest.Client) (err error) {
		cmd, stop := m.timed(a.command(), clock)
		defer stop()
		exit, err = c.Exec(bounded, cmd, a.stdin(), out, errs)
		return err
	})
	if code, ok := notStarted(err); ok {
		_, _ = fmt.Fprintln(errs, err) // an output takes everything
		exit, err = guest.Exit{Code: code, Duration: time.Since(began)}, nil
	}
	if err != nil {
		exit = guest.Exit{Code: -1, Duration: time.Since(began)} // it never ended
	}
	r := newExecResult(s, a, exit, out, errs)
	r.late = clock.Told()
	s.AddExec(r.record)
	switch {
	case err != nil && bounded.Err() != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("exec: %w", m.broken(context.Cause(bounded)))
	case err != nil:
		return nil, fmt.Errorf("exec: %w", err)
	case a.Check && !r.ok():
		return nil, &engine.SubjectError{Err: fmt.Errorf("exec: %s: %s", a.Command, r.how()), Detail: r.lastWords()}
	}
	return r, nil
}

// timed lets the clock end a command instead of the guest, which cannot tell
// when the host is too busy to run it. An agent that is too old for that counts
// by itself.
func (m *Machine) timed(cmd guest.Command, clock *engine.Clock) (guest.Command, func()) {
	if !m.info.Expires {
		return cmd, func() {}
	}
	over, stop := clock.After()
	cmd.Timeout, cmd.Expire = engine.Patience*cmd.Timeout, over
	return cmd, stop
}

func (a execArgs) command() guest.Command {
	c := guest.Command{User: a.User, Env: maps.Clone(a.Env), Dir: a.Cwd, Timeout: time.Duration(a.Timeout)}
	if a.Command.shell != "" {
		c.Shell = a.Command.shell
	} else {
		c.Argv = a.Command.argv
	}
	return c
}

func (a execArgs) stdin() io.Reader {
	if a.Stdin == "" {
		return nil
	}
	return strings.NewReader(a.Stdin)
}

// notStarted reports whether err says that the guest could not start the
// program, and with which code a shell would say so.
func notStarted(err error) (int, bool) {
	remote := (*guest.Error)(nil)
	switch {
	case !errors.As(err, &remote):
	case errors.Is(err, fs.ErrNotExist):
		return 127, true
	case errors.Is(err, fs.ErrPermission):
		return 126, true
	}
	return 0, false
}

// An ExecResult is what a command did, as scripts see it.
type ExecResult struct {
	record  assay.Exec
	seq     int // of the step
	stdout  string
	stderr  string
	seconds float64
	late    string // how much of it the host was too busy; empty: hardly
}

var execResultType = &engine.Type{
	Name: "ExecResult",
	Doc:  "What a command did. It is true if the command exited with 0 in time.",
	Attrs: []engine.Attr{
		engine.Field("ok", "bool", "The command exited with 0 in time.", func(r *ExecResult) starlark.Value { return r.Truth() }),
		engine.Field("code", "int", "The exit code; -1 if a signal ended it.", func(r *ExecResult) starlark.Value { return starlark.MakeInt(r.record.Code) }),
		engine.Field("signal", "str", `The signal that ended it, such as "SIGKILL"; empty if none did.`, func(r *ExecResult) starlark.Value { return starlark.String(r.record.Signal) }),
		engine.Field("timed_out", "bool", "It was killed because it took too long.", func(r *ExecResult) starlark.Value { return starlark.Bool(r.record.TimedOut) }),
		engine.Field("stdout", "str", "What it printed; the middle is cut out past 4 MiB.", func(r *ExecResult) starlark.Value { return starlark.String(r.stdout) }),
		engine.Field("stderr", "str", "What it printed to its standard error; cut like stdout.", func(r *ExecResult) starlark.Value { return starlark.String(r.stderr) }),
		engine.Field("seconds", "float", "How long it ran, measured in the guest.", func(r *ExecResult) starlark.Value { return starlark.Float(r.seconds) }),
		engine.Field("cpu_seconds", "float", "Processor time of the command and all that it started.", func(r *ExecResult) starlark.Value { return starlark.Float(r.record.CPU) }),
		engine.Field("peak_memory", "int", "The most memory that they held, in bytes; 0 if the guest's kernel does not tell.", func(r *ExecResult) starlark.Value { return starlark.MakeInt64(r.record.PeakMemory) }),
		engine.Field("orphans", "list[str]", "The command lines of the processes that it left running.", func(r *ExecResult) starlark.Value { return r.orphans() }),
	},
}

func newExecResult(s *engine.Session, a execArgs, exit guest.Exit, out, errs *output) *ExecResult {
	user := a.User
	if user == "" {
		user = a.Machine.info.User
	}
	return &ExecResult{
		seq: s.Seq(), stdout: out.long.String(), stderr: errs.long.String(), seconds: exit.Duration.Seconds(),
		record: assay.Exec{
			Command: a.Command.words(), User: user, Dir: a.Cwd,
			Code: exit.Code, Signal: exit.Signal, TimedOut: exit.TimedOut,
			Stdout: out.short.text(), Stderr: errs.short.text(), StdoutBytes: out.short.total, StderrBytes: errs.short.total,
			CPU: exit.CPU.Seconds(), PeakMemory: exit.PeakMemory, Orphans: exit.Orphans,
		},
	}
}

func (r *ExecResult) ok() bool { return r.record.Code == 0 && !r.record.TimedOut }

// how says how a command that is not ok ended.
func (r *ExecResult) how() string {
	switch {
	case r.record.TimedOut:
		return fmt.Sprintf("still running after %.3gs%s, killed", r.seconds, r.late)
	case r.record.Signal != "":
		return "ended by " + r.record.Signal
	}
	return fmt.Sprintf("exit code %d", r.record.Code)
}

// lastWords is the end of what the command printed, stderr if there is any.
func (r *ExecResult) lastWords() string {
	text := r.record.Stderr
	if strings.TrimSpace(text) == "" {
		text = r.record.Stdout
	}
	return strings.ToValidUTF8(text[max(0, len(text)-tailSize):], "")
}

func (r *ExecResult) orphans() *starlark.List {
	var all []starlark.Value
	for _, p := range r.record.Orphans {
		all = append(all, starlark.String(p.Command))
	}
	return frozenList(all)
}

// String returns what print shows.
func (r *ExecResult) String() string {
	return fmt.Sprintf("<exec %s: %s>", command{argv: r.record.Command}, r.how())
}

// Type returns "ExecResult".
func (r *ExecResult) Type() string { return "ExecResult" }

// Freeze does nothing: a result never changes.
func (r *ExecResult) Freeze() {}

// Truth returns whether the command exited with 0 in time.
func (r *ExecResult) Truth() starlark.Bool { return starlark.Bool(r.ok()) }

// Hash fails: a result is not a key.
func (r *ExecResult) Hash() (uint32, error) { return 0, unhashable(r) }

// Attr implements starlark.HasAttrs.
func (r *ExecResult) Attr(name string) (starlark.Value, error) { return execResultType.Attr(r, name) }

// AttrNames implements starlark.HasAttrs.
func (r *ExecResult) AttrNames() []string { return execResultType.AttrNames() }

// A command is an argv, or a line for the shell.
type command struct {
	argv  []string
	shell string
}

// StarType implements engine.StarType.
func (command) StarType() string { return "str | list[str]" }

// Unpack implements starlark.Unpacker.
func (c *command) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.String:
		c.shell = string(v)
	case starlark.Sequence:
		for x := range starlark.Elements(v) {
			s, ok := starlark.AsString(x)
			if !ok {
				return fmt.Errorf("element %d: got %s, want string", len(c.argv), x.Type())
			}
			c.argv = append(c.argv, s)
		}
	default:
		return fmt.Errorf("got %s, want string or list of strings", v.Type())
	}
	if c.shell == "" && (len(c.argv) == 0 || c.argv[0] == "") {
		return errors.New("got an empty command, want a program")
	}
	return nil
}

func (c command) words() []string {
	if c.shell != "" {
		return []string{"/bin/sh", "-c", c.shell}
	}
	return c.argv
}

// String returns the command as a person would type it.
func (c command) String() string {
	if c.shell != "" {
		return c.shell
	}
	if len(c.argv) == 3 && c.argv[0] == "/bin/sh" && c.argv[1] == "-c" {
		return c.argv[2]
	}
	var words []string
	for _, w := range c.argv {
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$`*?<>|&;()") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}
