package utm

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"assay/drivers/internal/cli"
)

// tools is the guest as QEMU's guest agent shows it.
type tools struct{ m *machine }

var (
	_ cli.Guest  = tools{}
	_ cli.Putter = tools{}
)

// Exec implements cli.Guest. utmctl loses exit codes, and says 0 when nothing
// ran: the command is run by a shell that says last how it ended, in words that
// only this call knows.
func (t tools) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	mark := "assay-" + rand.Text()
	args := []string{"exec", t.m.id}
	if stdin != nil {
		args = append(args, "--input")
	}
	args = append(args, "--cmd", "/bin/sh", "-c", `"$@"; echo "`+mark+`:$?" >&2`, "sh")
	r, err := t.m.d.ctl.Do(ctx, cli.Call{Args: append(args, argv...), Stdin: stdin})
	said, rest, ended := strings.Cut(string(r.Stderr), mark+":")
	if !ended {
		if err == nil {
			err = fmt.Errorf("utmctl exec: %q did not run, and utmctl does not say why: %w", argv[0], cli.ErrNoTools)
		}
		return nil, err
	}
	code, err := strconv.Atoi(strings.TrimSpace(rest))
	if err != nil || code != 0 {
		return r.Stdout, fmt.Errorf("%q in the guest: got exit code %.20q, want 0: %.300q", argv[0], strings.TrimSpace(rest), said)
	}
	return r.Stdout, nil
}

// Put implements cli.Putter: utmctl takes files in pieces, and a command's
// standard input in one.
func (t tools) Put(ctx context.Context, data []byte, file string, mode fs.FileMode) error {
	_, err := t.m.d.ctl.Do(ctx, cli.Call{Args: []string{"file", "push", t.m.id, file}, Stdin: bytes.NewReader(data), Limit: t.m.d.boot})
	if err != nil {
		return err
	}
	out, err := t.Exec(ctx, []string{"sh", "-c", `chmod "$1" "$2" && wc -c <"$2"`, "sh", fmt.Sprintf("%o", mode.Perm()), file}, nil)
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(out)); got != strconv.Itoa(len(data)) {
		return fmt.Errorf("%s: got %.20q bytes in the guest, want %d", file, got, len(data))
	}
	return nil
}

// wait waits until the guest's agent runs commands.
func (t tools) wait(ctx context.Context) error {
	return cli.AwaitTools(ctx, cli.Boot{Alive: t.m.alive, Console: t.m.Console, Limit: t.m.d.boot}, func(ctx context.Context) error {
		_, err := t.Exec(ctx, []string{"true"}, nil)
		return err
	})
}

// enter puts the agent in, and lets it serve the line's port.
func (m *machine) enter(ctx context.Context) error {
	t := tools{m}
	if err := t.wait(ctx); err != nil {
		return err
	}
	m.inside = true
	if err := cli.Enter(ctx, t, m.d.agents); err != nil {
		return err
	}
	return cli.Serve(ctx, t, "")
}
