package utm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// states in which a machine stays until somebody does something.
const (
	stopped = "stopped"
	started = "started"
	paused  = "paused"
)

// list returns the virtual machines.
func (d *driver) list(ctx context.Context) ([]cli.Listed, error) {
	r, err := d.run(ctx, "list")
	if err != nil {
		return nil, err
	}
	return parseList(string(r.Stdout))
}

// parseList reads lines "UUID STATUS NAME" below a heading. A name may have
// spaces, also at its ends.
func parseList(text string) ([]cli.Listed, error) {
	heading, rest, _ := strings.Cut(text, "\n")
	if f := strings.Fields(heading); len(f) != 3 || f[0] != "UUID" {
		return nil, fmt.Errorf("utmctl list: got the heading %.80q, want UUID Status Name", heading)
	}
	var list []cli.Listed
	for line := range strings.Lines(rest) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		id, rest, ok := strings.Cut(line, " ")
		if !ok || len(id) != uuidLen || len(rest) < stateWidth+1 {
			return nil, fmt.Errorf("utmctl list: got the line %.200q, want an id, a status and a name", line)
		}
		list = append(list, cli.Listed{ID: id, State: strings.TrimSpace(rest[:stateWidth]), Name: rest[stateWidth+1:]})
	}
	return list, nil
}

// Widths of the list's columns.
const (
	uuidLen    = 36
	stateWidth = 8
)

// find returns the one virtual machine of that name or id.
func (d *driver) find(ctx context.Context, name string) (cli.Listed, error) {
	list, err := d.list(ctx)
	if err != nil {
		return cli.Listed{}, err
	}
	return cli.Pick(list, "UTM", name)
}

// lent finds a machine of the user's by the word that every test uses.
func (d *driver) lent(ctx context.Context, name string) (cli.Listed, error) {
	list, err := d.list(ctx)
	if err != nil {
		return cli.Listed{}, err
	}
	l, err := cli.Pick(list, "UTM", name)
	if err != nil {
		return l, err
	}
	return l, cli.LentOf(list, name, l)
}

// reach waits for a state. failed is what the command said that was to bring it
// about.
func (d *driver) reach(ctx context.Context, id, want string, failed error) error {
	return d.arrival(fmt.Sprintf("the state %q of %s", want, id), failed).Wait(ctx, func(ctx context.Context) (bool, error) {
		l, err := d.find(ctx, id)
		return err == nil && l.State == want, err
	})
}

// start starts a machine, or lets it go on, without UTM's window.
func (d *driver) start(ctx context.Context, id string) error {
	_, err := d.run(ctx, "start", "--hide", id)
	return d.reach(ctx, id, started, err)
}

// kill cuts the power. One that is off stays so.
func (d *driver) kill(ctx context.Context, id string) error {
	l, err := d.find(ctx, id)
	if err != nil || l.State == stopped {
		return err
	}
	_, err = d.run(ctx, "stop", id, "--kill")
	return d.reach(ctx, id, stopped, err)
}

// alive says why nobody will answer: the guest has ended the machine, or somebody
// else has.
func (m *machine) alive(ctx context.Context) error {
	l, err := m.d.find(ctx, m.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("it was deleted: %w", err)
	case err == nil && l.State == stopped:
		return &vm.StoppedError{How: "the guest shut itself down (UTM says " + stopped + ")"}
	}
	return nil // not known, or well
}
