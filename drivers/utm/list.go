package utm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"assay/vm"
)

// entry is a line of utmctl's list.
type entry struct{ id, state, name string }

// states in which a machine stays until somebody does something.
const (
	stopped = "stopped"
	started = "started"
	paused  = "paused"
)

// list returns the virtual machines.
func (d *driver) list(ctx context.Context) ([]entry, error) {
	r, err := d.run(ctx, "list")
	if err != nil {
		return nil, err
	}
	return parseList(r.Text())
}

// parseList reads lines "UUID STATUS NAME" below a heading. A name may have
// spaces, also at its ends.
func parseList(text string) ([]entry, error) {
	heading, rest, _ := strings.Cut(text, "\n")
	if f := strings.Fields(heading); len(f) != 3 || f[0] != "UUID" {
		return nil, fmt.Errorf("utmctl list: got the heading %.80q, want UUID Status Name", heading)
	}
	var list []entry
	for line := range strings.Lines(rest) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		id, rest, ok := strings.Cut(line, " ")
		if !ok || len(id) != uuidLen || len(rest) < stateWidth+1 {
			return nil, fmt.Errorf("utmctl list: got the line %.200q, want an id, a status and a name", line)
		}
		list = append(list, entry{id, strings.TrimSpace(rest[:stateWidth]), rest[stateWidth+1:]})
	}
	return list, nil
}

// Widths of the list's columns.
const (
	uuidLen    = 36
	stateWidth = 8
)

// find returns the one virtual machine of that name or id.
func (d *driver) find(ctx context.Context, name string) (entry, error) {
	list, err := d.list(ctx)
	if err != nil {
		return entry{}, err
	}
	var found []entry
	for _, e := range list {
		if e.name == name || strings.EqualFold(e.id, name) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return entry{}, fmt.Errorf("no virtual machine %q in UTM: %w", name, fs.ErrNotExist)
	case 1:
		return found[0], nil
	}
	return entry{}, fmt.Errorf("got %d virtual machines called %q, want one; name it by its id, see \"utmctl list\"", len(found), name)
}

// reach waits for a state. failed is what the command said that was to bring it
// about.
func (d *driver) reach(ctx context.Context, id, want string, failed error) error {
	return d.until(ctx, fmt.Sprintf("the state %q of %s", want, id), failed, func(ctx context.Context) (bool, error) {
		e, err := d.find(ctx, id)
		return err == nil && e.state == want, err
	})
}

// start starts a machine, or lets it go on, without UTM's window.
func (d *driver) start(ctx context.Context, id string) error {
	_, err := d.run(ctx, "start", "--hide", id)
	return d.reach(ctx, id, started, err)
}

// kill cuts the power. One that is off stays so.
func (d *driver) kill(ctx context.Context, id string) error {
	e, err := d.find(ctx, id)
	if err != nil || e.state == stopped {
		return err
	}
	_, err = d.run(ctx, "stop", id, "--kill")
	return d.reach(ctx, id, stopped, err)
}

// alive says why nobody will answer: the guest has ended the machine, or somebody
// else has.
func (m *machine) alive(ctx context.Context) error {
	e, err := m.d.find(ctx, m.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("utm: %s was deleted: %w", m.name, fs.ErrNotExist)
	case err == nil && e.state == stopped:
		return &vm.StoppedError{How: "the guest shut itself down (UTM says " + stopped + ")"}
	}
	return nil // not known, or well
}
