package hyperv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"assay/drivers/standin"
)

func (p *player) probe(input) (any, error) {
	return map[string]any{"version": "10.0.26100", "computer": "PC"}, nil
}

func (p *player) list(input) (any, error) {
	all := []any{}
	for _, g := range p.host.Guests() {
		all = append(all, map[string]any{"id": get[string](g, "id"), "name": shown(g), "state": state(g)})
	}
	return map[string]any{"machines": all}, nil
}

// shown is the name that Hyper-V shows: two machines may have the same.
func shown(g *standin.Guest) string {
	if name := get[string](g, "name"); name != "" {
		return name
	}
	return g.Name()
}

func (p *player) show(in input) (any, error) {
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	addresses := []string{"fe80::215:5dff:fe00:1"}
	if a := get[string](g, "address"); a != "" && g.Running() {
		addresses = append(addresses, a)
	}
	return map[string]any{"id": get[string](g, "id"), "name": shown(g), "state": state(g), "addresses": addresses}, nil
}

func (p *player) register(input) (any, error) {
	if p.serial {
		return map[string]any{"socket": false, "why": "Requested registry access is not allowed."}, nil
	}
	return map[string]any{"socket": true, "why": ""}, nil
}

// convert wants a fixed VHD, and one that ends in .vhdx.
func (p *player) convert(in input) (any, error) {
	var paths struct{ From, To string }
	if err := in.into(&paths); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(paths.From)
	if err != nil || len(data) < footerSize || !strings.HasPrefix(string(data[len(data)-footerSize:]), "conectix") || filepath.Ext(paths.From) != ".vhd" || filepath.Ext(paths.To) != ".vhdx" {
		return nil, fmt.Errorf("Convert-VHD %q: want a fixed VHD to become a VHDX (%v)", paths, err)
	}
	return map[string]any{}, os.WriteFile(paths.To, []byte("vhdxfile"), 0o600)
}

func (p *player) create(in input) (any, error) {
	var o order
	if err := in.into(&o); err != nil {
		return nil, err
	}
	if p.host.Guest(o.Name) != nil {
		return nil, &refusal{"taken", "there is a virtual machine " + o.Name}
	}
	if base, err := os.ReadFile(o.Base); err != nil || string(base) != "vhdxfile" {
		return nil, fmt.Errorf("New-VHD: the parent %s is no VHDX (%v)", o.Base, err)
	}
	if o.Memory%(2<<20) != 0 || o.Generation != 1 && o.Generation != 2 {
		return nil, fmt.Errorf("New-VM: got %+v", o)
	}
	if err := os.WriteFile(o.Disk, []byte("vhdxfile over "+o.Base), 0o600); err != nil {
		return nil, err
	}
	g, err := p.host.Create(o.Name, standin.Size{CPUs: o.CPUs, Memory: o.Memory, Disk: o.Size})
	if err != nil {
		return nil, err
	}
	id, network := p.guid(), ""
	if o.Network {
		network = "Default Switch"
	}
	set(g, "id", id)
	set(g, "switch", network)
	set(g, "console", o.Console)
	set(g, "line", o.Line)
	g.SetLink(o.Network)
	return map[string]any{"id": id, "switch": network}, g.Seed(o.Seed)
}

// powerOn starts a guest, or lets it run on from its saved memory.
func (p *player) powerOn(g *standin.Guest) error {
	state := get[string](g, "saved")
	set(g, "saved", "")
	var err error
	if state != "" {
		err = g.Restore(state)
	}
	if err == nil && !g.Running() { // or the state had no memory
		err = g.Start()
	}
	if console := get[string](g, "console"); err == nil && console != "" {
		err = p.print(g, console)
	}
	line := get[string](g, "line")
	if args, ok := g.Listens(); err == nil && line != "" && p.serial && (!ok || args == "port "+serialPort) {
		os.Remove(line)
		err = g.Listen(line)
	}
	return err
}

func (p *player) start(in input) (any, error) {
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	switch state(g) {
	case running:
	case paused:
		err = g.Resume()
	default:
		err = p.powerOn(g)
	}
	return now(g), err
}

func (p *player) stop(in input) (any, error) {
	g, err := p.machine(in)
	if err == nil && g.Running() {
		err = g.Kill()
	}
	if err != nil {
		return nil, err
	}
	return now(g), nil
}

func (p *player) hold(in input) (any, error) {
	var h hold
	if err := in.into(&h); err != nil {
		return nil, err
	}
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	switch s := state(g); {
	case s != running && s != paused:
		return nil, &refusal{"state", "the virtual machine is " + s + ", want it Running or Paused"}
	case h.Still && s == running:
		err = g.Pause()
	case !h.Still && s == paused:
		err = g.Resume()
	}
	return now(g), err
}

// savedState is the snapshot that a saved machine's memory is kept in.
const savedState = "saved state"

func (p *player) save(in input) (any, error) {
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	if state(g) != saved {
		_ = g.DeleteSnapshot(savedState) // an older one
		if err := errors.Join(g.Snapshot(savedState, true), g.Kill()); err != nil {
			return nil, err
		}
		set(g, "saved", savedState)
	}
	return now(g), nil
}

func (p *player) checkpoint(in input) (any, error) {
	var order struct{ Name string }
	if err := in.into(&order); err != nil {
		return nil, err
	}
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	if p.host.Broken() == "lost" {
		return nil, &refusal{"lost", "there are 0 checkpoints " + order.Name + ", although Hyper-V complained of nothing"}
	}
	id := p.guid()
	return map[string]any{"id": id}, g.Snapshot(id, true)
}

// kept is Find-Checkpoint.
func kept(g *standin.Guest, id string) error {
	for _, s := range g.Snapshots() {
		if s.Name == id {
			return nil
		}
	}
	return &refusal{"missing", "no checkpoint of " + g.Name() + " has the id " + id}
}

// restore leaves a machine whose checkpoint has memory saved.
func (p *player) restore(in input) (any, error) {
	var order struct{ Checkpoint string }
	if err := in.into(&order); err != nil {
		return nil, err
	}
	g, err := p.machine(in)
	if err == nil {
		err = kept(g, order.Checkpoint)
	}
	if err == nil && g.Running() {
		err = g.Kill()
	}
	if err != nil {
		return nil, err
	}
	set(g, "saved", order.Checkpoint)
	return now(g), nil
}

func (p *player) forget(in input) (any, error) {
	var order struct{ Checkpoints []string }
	if err := in.into(&order); err != nil {
		return nil, err
	}
	g, err := p.machine(in)
	for _, id := range order.Checkpoints {
		if err == nil {
			err = g.DeleteSnapshot(id)
		}
	}
	return map[string]any{}, err
}

func (p *player) fork(in input) (any, error) {
	var o importOrder
	if err := in.into(&o); err != nil {
		return nil, err
	}
	if p.host.Guest(o.Name) != nil {
		return nil, &refusal{"taken", "there is a virtual machine " + o.Name}
	}
	g, err := p.machine(in)
	if err == nil {
		err = kept(g, o.Checkpoint)
	}
	if err != nil {
		return nil, err
	}
	twin, err := g.Twin(o.Name, o.Checkpoint)
	if err != nil {
		return nil, err
	}
	id := p.guid()
	set(twin, "id", id)
	set(twin, "saved", o.Checkpoint)
	if a := get[string](g, "address"); a != "" {
		set(twin, "address", fmt.Sprintf("10.9.8.%d", 100+p.count))
	}
	if o.Seed != "" {
		set(twin, "console", o.Console)
		set(twin, "line", o.Line)
		err = twin.Seed(o.Seed)
	}
	if err == nil {
		err = os.MkdirAll(o.Disks, 0o700)
	}
	return map[string]any{"id": id}, err
}

func (p *player) link(in input) (any, error) {
	var order struct {
		Up     bool
		Switch string
	}
	if err := in.into(&order); err != nil {
		return nil, err
	}
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	g.SetLink(order.Up && order.Switch != "")
	connected := 0
	if g.Link() {
		connected = 1
	}
	return map[string]any{"connected": connected}, nil
}

func (p *player) usage(in input) (any, error) {
	g, err := p.machine(in)
	if err != nil {
		return nil, err
	}
	return map[string]any{"memory": g.Size().Memory, "cpu": 12345678, "pid": 4242}, nil
}

func (p *player) screen(in input) (any, error) {
	var order struct{ Width, Height int }
	if err := in.into(&order); err != nil {
		return nil, err
	}
	_, err := p.machine(in)
	return map[string]any{"pixels": make([]byte, 2*order.Width*order.Height)}, err
}

func (p *player) remove(in input) (any, error) {
	var order struct{ ID, Name, Folder string }
	if err := in.into(&order); err != nil {
		return nil, err
	}
	n := 0
	for _, g := range p.host.Guests() {
		if shown(g) == order.Name || get[string](g, "id") == order.ID {
			g.Delete()
			n++
		}
	}
	if n == 0 {
		return map[string]any{"removed": 0}, nil
	}
	err := os.RemoveAll(order.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return map[string]any{"removed": n}, err
}
