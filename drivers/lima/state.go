package lima

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// The states of an instance that this driver acts on; there are more.
const (
	stateRunning = "Running"
	stateStopped = "Stopped"
)

// An instance is what list says of one.
type instance struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Dir    string `json:"dir"`
	Type   string `json:"vmType"`
	Errors []any  `json:"errors"` // for messages
}

// list asks for all instances. Lima's own choice of one fails in words that differ.
func (d *driver) list(ctx context.Context) ([]instance, error) {
	r, err := d.do(ctx, cli.Call{Args: []string{"list", "--format", "json"}, Limit: askLimit})
	if err != nil {
		return nil, err
	}
	var all []instance
	for dec := json.NewDecoder(bytes.NewReader(r.Stdout)); ; {
		var i instance
		switch err := dec.Decode(&i); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("limactl list: got %.200q, want an object a line: %w", r.Stdout, err)
		}
		all = append(all, i)
	}
}

// info asks for one instance. One that is not there is fs.ErrNotExist.
func (d *driver) info(ctx context.Context, id string) (instance, error) {
	all, err := d.list(ctx)
	if err != nil {
		return instance{}, err
	}
	i := slices.IndexFunc(all, func(i instance) bool { return i.Name == id })
	if i < 0 {
		return instance{}, fmt.Errorf("limactl list: got no instance %s: %w", id, fs.ErrNotExist)
	}
	return all[i], nil
}

// in returns nil if the instance is in that state.
func (d *driver) in(ctx context.Context, id, state string) error {
	i, err := d.info(ctx, id)
	if err == nil && i.Status != state {
		err = fmt.Errorf("instance %s: got status %q %v, want %q: %w", id, i.Status, i.Errors, state, cli.ErrState)
	}
	return err
}

// destroy removes an instance, whatever it does at the moment. What is not there
// is fs.ErrNotExist.
func (d *driver) destroy(ctx context.Context, id string) error {
	if _, err := d.run(ctx, "delete", "-f", id); err != nil {
		return err
	}
	i, err := d.info(ctx, id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		err = fmt.Errorf("limactl delete -f %s said nothing, and the instance is %s", id, i.Status)
	}
	return err
}

// stop shuts an instance down, or if that fails switches it off.
func (d *driver) stop(ctx context.Context, id string) error {
	_, err := d.do(ctx, cli.Call{Args: []string{"stop", id}, Limit: stopMax})
	if err != nil && ctx.Err() == nil {
		_, err = d.run(ctx, "stop", "-f", id)
	}
	if err != nil {
		return err
	}
	return d.in(ctx, id, stateStopped)
}

// start starts an instance that is there: of another name Lima would make one.
func (d *driver) start(ctx context.Context, id string, env []string) error {
	i, err := d.info(ctx, id)
	if err != nil {
		return err
	}
	_, err = d.do(ctx, cli.Call{Args: []string{"start", "--tty=false", "--timeout", bootMax.String(), id}, Env: env, Limit: bootMax + stopMax})
	switch {
	case errors.Is(err, errBoot):
		text, _ := console(i.Dir, bootTail)
		return &vm.BootError{Err: err, Console: text}
	case err != nil:
		return errors.Join(err, hostWords(i.Dir))
	}
	return d.in(ctx, id, stateRunning)
}

// hostWords returns what QEMU said as it died, which Lima keeps in a file, as an
// error; nil if there is nothing.
func hostWords(dir string) error {
	data, err := cli.ReadTail(filepath.Join(dir, "ha.stderr.log"), hostTail)
	if err != nil {
		return nil
	}
	var said []string
	for line := range strings.Lines(string(data)) {
		if _, words, ok := strings.Cut(line, "qemu[stderr]: "); ok {
			said = append(said, strings.TrimSpace(words))
		}
	}
	if len(said) == 0 {
		return nil
	}
	return fmt.Errorf("QEMU said: %.600q", strings.Join(said, " "))
}

// Bounds of what is read from files that a guest can make long.
const (
	hostTail    = 16 << 10
	bootTail    = 64 << 10
	consoleTail = 1 << 20
)

// console returns the end of what the guest printed on its serial consoles.
func console(dir string, limit int64) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "serial*.log"))
	if err != nil {
		return nil, err
	}
	var text []byte
	for _, name := range names {
		data, err := cli.ReadTail(name, limit)
		if err != nil {
			return nil, err
		}
		text = append(text, data...)
	}
	return text[max(0, int64(len(text))-limit):], nil
}
