package parallels

import (
	"bytes"
	"context"
	"io"
	"strings"

	"assay/drivers/internal/cli"
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
	r, err := cli.Again(ctx, attempts, t.m.d.pause, cli.ErrNoTools, func() (cli.Result, error) {
		return t.m.d.do(ctx, cli.Call{Args: []string{"exec", t.m.uuid, quote(argv)}, Stdin: bytes.NewReader(input)})
	})
	return r.Stdout, err
}

// wait waits until Parallels Tools run commands.
func (t tools) wait(ctx context.Context) error {
	return cli.AwaitTools(ctx, cli.Boot{Alive: t.m.alive, Limit: t.m.d.boot}, func(ctx context.Context) error {
		_, err := t.m.d.ctl.Do(ctx, cli.Call{Args: []string{"exec", t.m.uuid, quote([]string{"true"})}, Limit: cli.AnswerLimit})
		return err
	})
}
