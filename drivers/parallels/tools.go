package parallels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// tools is the guest as Parallels Tools show it.
type tools struct{ m *machine }

var _ cli.Guest = tools{}

// quote makes one line of a shell of a command: prlctl joins words, and the
// guest's shell takes them apart again.
func quote(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
	}
	return strings.Join(words, " ")
}

// Exec implements cli.Guest. What Parallels Tools refuse for a moment is tried
// again; a command that ran is not.
func (t tools) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	var input []byte
	if stdin != nil {
		var err error
		if input, err = io.ReadAll(stdin); err != nil {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		r, err := t.m.d.do(ctx, cli.Call{Args: []string{"exec", t.m.uuid, quote(argv)}, Stdin: bytes.NewReader(input)})
		if !errors.Is(err, cli.ErrNoTools) || try == attempts || ctx.Err() != nil {
			return r.Stdout, err
		}
		time.Sleep(t.m.d.pause)
	}
}

// answerLimit bounds one question to a guest that may be starting.
const answerLimit = 30 * time.Second

// wait waits until Parallels Tools run commands.
func (t tools) wait(ctx context.Context) error {
	limit := fmt.Errorf("no answer from Parallels Tools in %v", t.m.d.boot)
	inner, cancel := context.WithTimeoutCause(ctx, t.m.d.boot, limit)
	defer cancel()
	err := cli.Until(inner, "waiting for the guest", func(ctx context.Context) (bool, error, error) {
		_, err := t.m.d.ctl.Do(ctx, cli.Call{Args: []string{"exec", t.m.uuid, quote([]string{"true"})}, Limit: answerLimit})
		if err == nil {
			return true, nil, nil
		}
		if ctx.Err() != nil {
			return false, nil, nil
		}
		if gone := t.m.alive(ctx); gone != nil {
			return false, nil, fmt.Errorf("%w; before: %w", gone, err)
		}
		return false, err, nil
	})
	stopped := (*vm.StoppedError)(nil)
	if err != nil && ctx.Err() == nil && (inner.Err() != nil || errors.As(err, &stopped)) {
		return &vm.BootError{Err: err}
	}
	return err
}
