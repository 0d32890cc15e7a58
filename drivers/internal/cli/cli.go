// Package cli is how drivers talk to hypervisors that are used through a command:
// one call, a call whose output is the line to the agent, and what such calls
// have in common.
//
// It knows processes, exit codes and what an error text means, if a driver's
// table says so. It knows no hypervisor, and not what the bytes on a line mean.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Tool is a hypervisor's command. Its fields are set before its first call;
// its methods are safe for concurrent use.
type Tool struct {
	Driver string    // the driver's name, for errors
	Name   string    // "VBoxManage"
	Places []string  // absolute paths to look at if PATH has no such command
	Args   []string  // put before the arguments of every call: "-c", "qemu:///system"
	Env    []string  // added to every call's environment: "K=V"
	Errors []Pattern // what its complaints mean, the first that matches counts
	Fix    string    // the command that installs it, for a *vm.UnavailableError

	Systems []string // the GOOS values where it can be installed; empty: all

	// Limit is how long a call may take that names no limit; default 2 minutes.
	Limit time.Duration
}

// A Pattern says what a tool means by a text.
type Pattern struct {
	Text string // a part of the standard error, or with Stdout of the output; case does not matter
	Kind error  // one of the kinds below, or of io/fs
	Fix  string // what to do about it; "the next command to type" is best

	Stdout bool // look at the standard output as well
	Always bool // this is an error even if the exit code is 0
}

// Kinds of error, beside fs.ErrNotExist (no such machine, snapshot or image),
// fs.ErrExist (the name is taken), fs.ErrPermission, errors.ErrUnsupported and
// context.DeadlineExceeded.
var (
	ErrNotInstalled = errors.New("not installed")
	ErrDaemon       = errors.New("its service does not run")
	ErrNoSpace      = errors.New("no space left on the host")
	ErrNoMemory     = errors.New("the host has not enough memory")
	ErrNoTools      = errors.New("the guest's tools do not answer")
	ErrNetwork      = errors.New("the network is down")
	ErrVirtual      = errors.New("the processor's virtualisation is off")
	ErrState        = errors.New("the machine is in the wrong state")
	ErrFailed       = errors.New("failed") // nothing more is known
)

// Bounds of what a call may say.
const (
	maxOutput = 64 << 20
	maxSaid   = 64 << 10 // of the standard error
)

// defaultLimit is how long a call may take.
const defaultLimit = 2 * time.Minute

// A Call is one run of a tool.
type Call struct {
	Args   []string
	Stdin  io.Reader     // nil: empty
	Stdout io.Writer     // nil: kept in the Result, at most 64 MiB
	Env    []string      // beside the tool's
	Dir    string        // default: the process's own
	Limit  time.Duration // default: the tool's
}

// A Result is what a call brought forth.
type Result struct {
	Stdout []byte
	Stderr []byte // at most its last 64 KiB
	Exit   int
}

// Text returns the standard output without the white space around it.
func (r Result) Text() string { return strings.TrimSpace(string(r.Stdout)) }

// Path returns where the command is: $ASSAY_NAME (in capitals), else PATH, else
// Places. If it is nowhere the error matches ErrNotInstalled.
func (t *Tool) Path() (string, error) {
	if path := os.Getenv(Variable(t.Name)); path != "" {
		return path, nil
	}
	path, err := exec.LookPath(t.Name)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, place := range t.Places {
		if info, err := os.Stat(place); err == nil && !info.IsDir() {
			return place, nil
		}
	}
	return "", &Error{Tool: t.Name, Kind: ErrNotInstalled, Fix: t.Fix}
}

// Variable names the environment variable that says where a tool is.
func Variable(tool string) string {
	return "ASSAY_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(tool))
}

// Run runs the tool. A non-zero exit, a text that means an error, or the end of
// the limit is an *Error; the result is what there was until then.
func (t *Tool) Run(ctx context.Context, args ...string) (Result, error) {
	return t.Do(ctx, Call{Args: args})
}

// Do is Run with everything that can be said about a call.
func (t *Tool) Do(ctx context.Context, c Call) (Result, error) {
	path, err := t.Path()
	if err != nil {
		return Result{}, err
	}
	limit := c.Limit
	if limit == 0 {
		limit = t.limit()
	}
	inner, cancel := context.WithTimeoutCause(ctx, limit, &timeoutError{limit})
	defer cancel()
	cmd := t.command(inner, path, c.Args)
	cmd.Dir, cmd.Stdin = c.Dir, c.Stdin
	cmd.Env = append(cmd.Env, c.Env...)
	out, said := &head{limit: maxOutput}, &Tail{limit: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	runtime.LockOSThread() // the kernel ends a child with the thread that started it
	err = cmd.Run()
	runtime.UnlockOSThread()
	r := Result{Stdout: out.buf.Bytes(), Stderr: said.Bytes(), Exit: cmd.ProcessState.ExitCode()}
	if errors.Is(err, exec.ErrWaitDelay) && r.Exit == 0 && inner.Err() == nil {
		err = nil // it started a service of its hypervisor's, which holds the pipes
	}
	switch name := Variable(t.Name); {
	case cmd.Process == nil && err != nil && os.Getenv(name) != "":
		err = fmt.Errorf("$%s: %w", name, err)
	case inner.Err() != nil && err != nil:
		err = context.Cause(inner)
	case out.full:
		err = fmt.Errorf("got more than %d MiB of output", maxOutput>>20)
	}
	return r, t.judge(c.Args, r, err)
}

func (t *Tool) limit() time.Duration {
	if t.Limit == 0 {
		return defaultLimit
	}
	return t.Limit
}

// command prepares a child that leaves nothing behind: it has a process group of
// its own, which ctx's end kills, and speaks no language but C's.
func (t *Tool) command(ctx context.Context, path string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, append(append([]string{}, t.Args...), args...)...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "LANG=C", "LANGUAGE=", "NO_COLOR=1"), t.Env...)
	cmd.WaitDelay = 2 * time.Second // a grandchild may hold the pipes
	alone(cmd)
	return cmd
}

// timeoutError is the end of a call's own limit.
type timeoutError struct{ limit time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("no end after %s", e.limit) }
func (e *timeoutError) Unwrap() error { return context.DeadlineExceeded }

// head keeps the beginning of what is written to it, and takes no more than that:
// a tool that never stops talking loses its reader, which ends most. It embeds no
// buffer, whose ReadFrom would know no limit.
type head struct {
	buf   bytes.Buffer
	limit int
	full  bool
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.limit - h.buf.Len(); len(p) > room {
		h.full = true
		h.buf.Write(p[:room])
		return room, io.ErrShortWrite
	}
	return h.buf.Write(p)
}
