package guest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Info asks the guest what it is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.call(ctx, request{method: methodInfo, result: &info})
	info.bound()
	return info, err
}

// Exec runs cmd in the guest and waits for its end. stdin, stdout and stderr may
// be nil; output arrives while the command runs, on this goroutine. When ctx ends
// the whole process tree is killed in the guest. A reader that blocks is read
// once more after Exec has returned.
//
// A command is over when its first process is. What it printed by then arrives
// whole; what its descendants print later does not, though they live on: see
// Exit.Orphans.
func (c *Client) Exec(ctx context.Context, cmd Command, stdin io.Reader, stdout, stderr io.Writer) (Exit, error) {
	return c.exec(ctx, cmd, request{feed: feedFrom(stdin), out: stdout, err: stderr})
}

// Terminal is Exec on a terminal of cmd.TTY's size (nil: 24×80), whose new sizes
// come from sizes, which may be nil.
func (c *Client) Terminal(ctx context.Context, cmd Command, stdin io.Reader, stdout io.Writer, sizes <-chan Size) (Exit, error) {
	if cmd.TTY == nil {
		cmd.TTY = &Size{Rows: 24, Cols: 80}
	}
	return c.exec(ctx, cmd, request{feed: feedFrom(stdin), out: stdout, sizes: sizes})
}

func (c *Client) exec(ctx context.Context, cmd Command, r request) (Exit, error) {
	var exit Exit
	cmd.Stdin = r.feed != nil
	r.method, r.args, r.result, r.expire = methodExec, cmd, &exit, cmd.Expire
	err := c.call(ctx, r)
	exit.bound()
	return exit, err
}

// ReadFile returns a guest file's content, at most limit bytes and 64 MiB: a
// longer file is ErrLimit, a missing one fs.ErrNotExist.
func (c *Client) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	limit = min(limit, maxFile)
	buf := bounded{limit: limit}
	err := c.call(ctx, request{method: methodRead, args: readArgs{path, limit}, out: &buf})
	if err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// WriteFile makes or replaces a guest file of at most 64 MiB that belongs to
// user (empty: the guest's test user), and makes its missing parents.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode, user string) error {
	args := writeArgs{path, mode.Perm(), user}
	return c.call(ctx, request{method: methodWrite, args: args, feed: feedFrom(bytes.NewReader(data))})
}

// Wait waits, inside the guest, until cond holds, and returns ctx's error if it
// does not in time.
func (c *Client) Wait(ctx context.Context, cond Condition) error {
	return c.call(ctx, request{method: methodWait, args: cond})
}

// Renew makes a fork differ from its twin: see Identity. It reseeds the kernel's
// randomness, sets the clock and what else id names, in that order. Only
// /etc/machine-id and the host keys are files. A new machine whose ssh server has
// keys that id does not replace takes a second round trip, with keys made now.
func (c *Client) Renew(ctx context.Context, id Identity) error {
	var r renewed
	if err := c.call(ctx, request{method: methodRenew, args: id, result: &r}); err != nil {
		return err
	}
	if r.Info != nil {
		r.Info.bound()
		c.told.Store(r.Info)
	}
	lacking := slices.DeleteFunc(slices.Clone(hostKeyTypes), func(t string) bool { return !slices.Contains(r.Lacking, t) })
	if len(lacking) == 0 {
		return nil
	}
	more, err := NewIdentity("", lacking).Identity(ctx)
	if err != nil {
		return err
	}
	return c.call(ctx, request{method: methodRenew, args: Identity{HostKeys: more.HostKeys}})
}

// Told returns what the guest said of itself when it was renewed on this line,
// and false if it was not.
func (c *Client) Told() (Info, bool) {
	if info := c.told.Load(); info != nil {
		return *info, true
	}
	return Info{}, false
}

// A Greeter is a machine whose driver has talked to the agent already. Greeted
// hands the line over on which it did, once; nil if there is none, or if it is
// dead. Who takes it closes it. Dialling the machine cuts it, as any other line.
type Greeter interface{ Greeted() *Client }

// bounded is a buffer that refuses more than limit bytes.
type bounded struct {
	bytes.Buffer
	limit int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(b.Len()+len(p)) > b.limit {
		return 0, fmt.Errorf("got more than %d bytes: %w", b.limit, ErrLimit)
	}
	return b.Buffer.Write(p)
}

// The bounds of what a guest says of itself.
const (
	maxWord    = 256
	maxOrphans = 100
	maxSkipped = 100
	maxPath    = 4096
)

// bound cuts what the guest sent to what is sensible.
func (i *Info) bound() {
	for _, s := range []*string{&i.OS.ID, &i.OS.Version, &i.OS.Key, &i.OS.Name, &i.OS.Kernel, &i.OS.Arch,
		&i.Hostname, &i.User, &i.BootID, &i.Agent} {
		*s = printable(*s, maxWord)
	}
	i.Home = printable(i.Home, maxPath)
	i.HostKeys = slices.DeleteFunc(slices.Clone(hostKeyTypes), func(t string) bool { return !slices.Contains(i.HostKeys, t) })
	i.CPUs, i.Memory, i.Uptime = max(i.CPUs, 0), max(i.Memory, 0), max(i.Uptime, 0)
}

func (e *Exit) bound() {
	e.Signal = printable(e.Signal, maxWord)
	e.Duration, e.CPU, e.PeakMemory = max(e.Duration, 0), max(e.CPU, 0), max(e.PeakMemory, 0)
	e.Orphans = e.Orphans[:min(len(e.Orphans), maxOrphans)]
	for i := range e.Orphans {
		o := &e.Orphans[i]
		o.User, o.Command = printable(o.User, maxWord), printable(o.Command, maxPath)
	}
}

func (t *TransferStats) bound() {
	t.Files, t.Dirs, t.Bytes = max(t.Files, 0), max(t.Dirs, 0), max(t.Bytes, 0)
	t.Skipped = t.Skipped[:min(len(t.Skipped), maxSkipped)]
	for i := range t.Skipped {
		t.Skipped[i] = printable(t.Skipped[i], maxPath)
	}
}
