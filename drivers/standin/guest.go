package standin

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"assay/drivers/fake"
	"assay/vm"
)

// What a guest's methods say when its power is the wrong way. Players say it in
// their tool's words.
var (
	ErrOff = fake.ErrOff
	ErrOn  = fake.ErrOn
)

// Size is what a guest is made of. Zero means one CPU, 512 MiB and 4 GiB.
type Size struct {
	CPUs         int
	Memory, Disk int64 // bytes
}

// A Guest is one made-up machine of a host's, a fresh cloud image that is
// switched off at first. It has no agent and nobody but root until somebody
// brings them. Its methods are safe for concurrent use.
type Guest struct {
	// Lock guards Attr, and nothing else: the methods may be called under it.
	sync.Mutex
	// Attr is the player's own state: a UUID, a description, ports. A clone begins
	// with a copy of it.
	Attr map[string]any

	name string
	size Size
	host *Host

	own   sync.Mutex
	box   *fake.Computer
	saved []Snapshot
	last  string // the snapshot that the guest's state descends from
	life  context.Context
	end   context.CancelFunc
	work  sync.WaitGroup // channels that are served
}

// A Snapshot is a saved state of a guest.
type Snapshot struct {
	Name   string
	Parent string // the snapshot that it descends from, if any
	Memory bool   // it has the memory too
	Taken  time.Time

	state *fake.State
}

// AgentProgram returns what the agent's file holds, for guests of an
// architecture. Drivers under test are given it as Config.Agents; a guest runs
// it only if it is that of its own architecture, which is this machine's.
func AgentProgram(arch string) ([]byte, error) {
	if arch != "amd64" && arch != "arm64" {
		return nil, fmt.Errorf("got architecture %q, want amd64 or arm64", arch)
	}
	return []byte("\x7fELF assay-agent of a stand-in, for " + arch + "\n"), nil
}

// Create makes a guest that is off. A name that is taken is fs.ErrExist.
func (h *Host) Create(name string, size Size) (*Guest, error) {
	agent, err := AgentProgram(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	box, err := fake.NewComputer(fake.Hardware{
		Image: vm.Image{Name: "debian-12", Arch: runtime.GOARCH}, Hostname: name, CPUs: max(size.CPUs, 1),
		Memory: orElse(size.Memory, 512<<20), Disk: orElse(size.Disk, 4<<30), Agent: agent,
	})
	if err != nil {
		return nil, err
	}
	return h.add(&Guest{name: name, size: size, box: box, Attr: map[string]any{}})
}

func orElse(n, other int64) int64 {
	if n > 0 {
		return n
	}
	return other
}

// add gives a guest its place in the host.
func (h *Host) add(g *Guest) (*Guest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guests[g.name] != nil {
		return nil, fmt.Errorf("guest %q: %w", g.name, fs.ErrExist)
	}
	g.host = h
	g.life, g.end = context.WithCancel(h.life)
	h.guests[g.name] = g
	return g, nil
}

// Name returns the guest's name.
func (g *Guest) Name() string { return g.name }

// Size returns what it was made with.
func (g *Guest) Size() Size { return g.size }

// Start boots the guest. One that runs is ErrOn.
func (g *Guest) Start() error { return g.box.On() }

// Shutdown asks the guest to end, which it does, in good order. One that is off
// is ErrOff.
func (g *Guest) Shutdown() error {
	if !g.box.Running() {
		return ErrOff
	}
	g.box.Shutdown()
	return nil
}

// Kill cuts the power: what the guest did not flush to its disk is lost. A guest
// that is off is ErrOff.
func (g *Guest) Kill() error {
	if !g.box.Running() {
		return ErrOff
	}
	g.box.Off()
	return nil
}

// Pause lets it stand still; nothing answers until Resume. A guest that is off
// is ErrOff.
func (g *Guest) Pause() error { return g.box.Pause() }

// Resume lets it go on.
func (g *Guest) Resume() error { return g.box.Resume() }

// Running reports whether the power is on; a paused guest is running.
func (g *Guest) Running() bool { return g.box.Running() }

// Paused reports whether it stands still.
func (g *Guest) Paused() bool { return g.box.Paused() }

// SetLink plugs the network cable in, or pulls it out.
func (g *Guest) SetLink(up bool) { g.box.SetLink(up) }

// Link reports whether the cable is plugged in.
func (g *Guest) Link() bool { return g.box.Link() }

// Console returns what the guest has printed, at most the last MiB.
func (g *Guest) Console() []byte { return g.box.Console() }

// Used returns how many bytes of files the guest's disk holds.
func (g *Guest) Used() int64 { return g.box.Used() }

// Processes lists the commands that run in the guest.
func (g *Guest) Processes() []string { return g.box.Processes() }

// Screenshot returns a small PNG.
func (g *Guest) Screenshot() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 40))) // a buffer takes everything
	return b.Bytes()
}

// Delete takes the guest away, whatever it does at the moment.
func (g *Guest) Delete() {
	g.host.mu.Lock()
	if g.host.guests[g.name] == g {
		delete(g.host.guests, g.name)
	}
	g.host.mu.Unlock()
	g.remove()
}

// remove ends everything of the guest's.
func (g *Guest) remove() {
	g.end()
	g.box.Off()
	g.work.Wait()
}

// Flush brings to the disk what the guest wrote, as a container's host has it at
// any time.
func (g *Guest) Flush() { g.box.Flush() }

// Snapshot saves the disk, as far as it is flushed, and with memory all of it and
// what runs, if the guest is on. A name that is taken is fs.ErrExist. The guest
// goes on.
func (g *Guest) Snapshot(name string, memory bool) error {
	g.own.Lock()
	defer g.own.Unlock()
	if _, err := g.find(name); err == nil {
		return fmt.Errorf("snapshot %q: %w", name, fs.ErrExist)
	}
	state := g.box.Save(memory)
	g.saved = append(g.saved, Snapshot{Name: name, Parent: g.last, Memory: state.Memory(), Taken: time.Now(), state: state})
	g.last = name
	return nil
}

// find returns where a snapshot is. The caller holds the lock.
func (g *Guest) find(name string) (int, error) {
	i := slices.IndexFunc(g.saved, func(s Snapshot) bool { return s.Name == name })
	if i < 0 {
		return i, fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
	}
	return i, nil
}

// Restore goes back to a snapshot: the guest then runs if that has the memory,
// and is off otherwise. An unknown name is fs.ErrNotExist and changes nothing.
func (g *Guest) Restore(name string) error {
	g.own.Lock()
	defer g.own.Unlock()
	i, err := g.find(name)
	if err != nil {
		return err
	}
	g.box.Load(g.saved[i].state)
	g.last = name
	return nil
}

// DeleteSnapshot forgets a snapshot. Its children become its parent's.
func (g *Guest) DeleteSnapshot(name string) error {
	g.own.Lock()
	defer g.own.Unlock()
	i, err := g.find(name)
	if err != nil {
		return err
	}
	parent := g.saved[i].Parent
	g.saved = slices.Delete(g.saved, i, i+1)
	for j := range g.saved {
		if g.saved[j].Parent == name {
			g.saved[j].Parent = parent
		}
	}
	if g.last == name {
		g.last = parent
	}
	return nil
}

// Snapshots lists the snapshots, oldest first.
func (g *Guest) Snapshots() []Snapshot {
	g.own.Lock()
	defer g.own.Unlock()
	return slices.Clone(g.saved)
}

// Current returns the snapshot that the guest's state descends from, or "".
func (g *Guest) Current() string {
	g.own.Lock()
	defer g.own.Unlock()
	return g.last
}

// Clone makes a new guest that is off, with the disk of a snapshot, or, if that
// is "", with the disk as it is now. It has no snapshots.
func (g *Guest) Clone(name, snapshot string) (*Guest, error) {
	g.own.Lock()
	defer g.own.Unlock()
	state := g.box.Save(false)
	if snapshot != "" {
		i, err := g.find(snapshot)
		if err != nil {
			return nil, err
		}
		state = g.saved[i].state
	}
	g.Lock()
	attr := maps.Clone(g.Attr)
	g.Unlock()
	return g.host.add(&Guest{name: name, size: g.size, box: g.box.Copy(state), Attr: attr})
}
