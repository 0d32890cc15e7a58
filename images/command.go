package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// command is one call of a tool. Its processes are a group of their own, and
// none of them outlives the call or this process.
type command struct {
	argv   []string
	env    []string // the whole environment
	dir    string
	stdin  io.Reader
	stdout io.Writer         // nil: discarded
	line   func(line string) // told each line of standard error, if set
	jail   bool              // the tool mounts: give it, if root, mounts and processes that end with it
}

// commandError is a tool that failed.
type commandError struct {
	Argv   []string
	Err    error
	Stderr string // its last 4 KiB
}

func (e *commandError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Argv[0], e.Err)
	if said := reason(e.Stderr); said != "" {
		s += ": " + said
	}
	return s
}

func (e *commandError) Unwrap() error { return e.Err }

// toolEnv is the environment of every tool: the language is fixed because it
// orders file names, and the user's settings stay out of the image.
func toolEnv(extra ...string) []string {
	env := []string{"LC_ALL=C.UTF-8", "TZ=UTC", "INITRD=No", "DEBIAN_FRONTEND=noninteractive",
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	for _, name := range []string{"HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}

// killGrace is how long a tool has to clean up after itself once it is told to stop.
const killGrace = 15 * time.Second

// end tells the group that p leads to stop, and kills it if p is not gone in time.
// A tool in a world of its own is killed at once: it has nothing to clean up.
func (c command) end(p *os.Process, gone <-chan struct{}) {
	if !c.alone() {
		askGroup(p)
		select {
		case <-gone:
			return
		case <-time.After(killGrace):
		}
	}
	killGroup(p)
}

// run runs the command to its end. When ctx ends, so does the whole group; the
// error is then ctx's.
func (c command) run(ctx context.Context) error {
	// The death signal below is tied to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout = c.env, c.dir, c.stdin, c.stdout
	stderr := &tail{line: c.line}
	cmd.Stderr = stderr
	cmd.SysProcAttr = c.attributes()
	cmd.WaitDelay = killGrace
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := cmd.Start(); err != nil {
		return &commandError{Argv: c.argv, Err: err}
	}
	gone := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { c.end(cmd.Process, gone) })
	err := cmd.Wait()
	close(gone)
	killGroup(cmd.Process)
	if !stop() {
		return context.Cause(ctx)
	}
	if err != nil {
		return &commandError{Argv: c.argv, Err: err, Stderr: stderr.String()}
	}
	return nil
}

// output runs a tool and returns what it printed, at most limit bytes.
func output(ctx context.Context, limit int, argv ...string) (string, error) {
	var b cappedBuffer
	b.limit = limit
	err := command{argv: argv, env: toolEnv(), stdout: &b}.run(ctx)
	if err == nil && b.over {
		err = fmt.Errorf("%s: got more than %d bytes of output, want fewer", argv[0], limit)
	}
	return b.String(), err
}

// cappedBuffer keeps the first limit bytes.
type cappedBuffer struct {
	strings.Builder
	limit int
	over  bool
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	keep := min(len(p), b.limit-b.Len())
	b.over = b.over || keep < len(p)
	b.Builder.Write(p[:keep])
	return len(p), nil
}

// tail keeps the last 4 KiB that are written to it, and tells lines as they end.
type tail struct {
	line func(string)
	kept []byte
	part []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-4096):]
	if t.line != nil {
		t.part = append(t.part, p...)
		t.tell()
	}
	return len(p), nil
}

// tell passes on the whole lines of part. A line without an end is cut.
func (t *tail) tell() {
	for {
		n, line, _ := bufio.ScanLines(t.part, len(t.part) > 4096)
		if n == 0 {
			return
		}
		t.line(string(line))
		t.part = t.part[n:]
	}
}

func (t *tail) String() string { return string(t.kept) }

// reason returns the last lines in which a tool says why it failed, on one line.
func reason(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "I: ") && !strings.HasPrefix(line, "Get:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}

// explain adds what a person can do to an error that has a known cause.
func explain(err error, dir string) error {
	var c *commandError
	full := errors.Is(err, syscall.ENOSPC)
	if errors.As(err, &c) {
		full = full || strings.Contains(c.Stderr, "No space left on device") || strings.Contains(c.Stderr, "enough free space")
	}
	if !full {
		return err
	}
	return fmt.Errorf("%s: no space left, an image needs %s free while it is made; free some or set ASSAY_HOME: %w", dir, mebibytes(needBytes), err)
}
