//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assay/guest"
	"assay/vm"
)

var (
	_ vm.Machine     = (*machine)(nil)
	_ vm.Snapshotter = (*machine)(nil)
	_ vm.Forker      = (*machine)(nil)
	_ vm.Consoler    = (*machine)(nil)
	_ vm.Networker   = (*machine)(nil)
	_ vm.Suspender   = (*machine)(nil)
	_ vm.Usager      = (*machine)(nil)
	_ guest.Greeter  = (*machine)(nil)
)

var (
	errClosed   = errors.New("the machine was closed")
	errRestored = errors.New("the machine was restored: dial again")
)

// A machine is one virtual machine. QEMU's process changes when it is
// restored; the machine stays.
type machine struct {
	d       *driver
	tools   tools
	hw      hardware
	record  record
	dir     string // its files; absolute
	sockets string // folder of its socket: dir, or a shorter one
	lease   *os.File

	hostKeys []string // types of the keys of the guest's ssh server, which a clone needs anew

	busy chan struct{} // holds one token: the right to change the machine

	mu        sync.Mutex
	proc      *process      // nil until started
	line      net.Conn      // the one that was dialled last
	greeted   *guest.Client // on that line, until somebody takes it
	closed    bool
	suspended bool
	linkDown  bool
	spent     time.Duration // CPU of the processes before this one

	// Below is only touched with the token.
	mem       ram   // where the running process has its memory from
	top       int   // number of the writable layer
	layers    int   // how many layers were made
	chain     []int // the writable layer and those below it, oldest first
	snapshots map[string]snapshot
	ids       map[int]string // of frozen layers, by number: see Mark
}

// newMachine takes the folder of spec and records there what is about to run.
func (d *driver) newMachine(t tools, hw hardware, spec vm.Spec) (*machine, error) {
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { // a failed clone took it along
		return nil, err
	}
	m := &machine{d: d, tools: t, hw: hw, dir: dir, sockets: dir, busy: make(chan struct{}, 1), snapshots: map[string]snapshot{}, ids: map[int]string{}}
	m.record = record{ID: hw.ID, Owner: spec.Owner, Name: spec.Name}
	if len(filepath.Join(dir, agentName)) > maxSocketPath {
		if m.sockets, err = os.MkdirTemp("", socketPrefix); err != nil {
			return nil, err
		}
		m.record.Sockets = m.sockets
	}
	if err := m.record.write(dir); err != nil {
		m.remove()
		return nil, err
	}
	return m, nil
}

// machineID names a machine among all of this host's.
func machineID(spec vm.Spec) string {
	if spec.Owner == "" {
		return spec.Name
	}
	return spec.Owner + "." + spec.Name
}

// ID returns what QEMU is called on its command line: OWNER.NAME.
func (m *machine) ID() string { return m.hw.ID }

// path names one of the machine's files.
func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// lock takes the right to change the machine.
func (m *machine) lock(ctx context.Context) error {
	select {
	case m.busy <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.isClosed() {
		m.unlock()
		return errClosed
	}
	return nil
}

func (m *machine) unlock() { <-m.busy }

func (m *machine) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// start runs QEMU on the machine's writable layer and makes it the machine's
// process. state is the saved state to load, nil to boot; more are further arguments.
func (m *machine) start(ctx context.Context, mem ram, state *os.File, more ...string) (*process, error) {
	agent, err := listen(filepath.Join(m.sockets, agentName))
	if err != nil {
		if state != nil {
			state.Close()
		}
		return nil, err
	}
	m.mem = mem
	args := m.tools.args(m.hw, mem, layerName(m.top), state != nil)
	p, err := start(ctx, m.tools.QEMU, append(args, more...), m.dir, files{agent, state}, m.hear)
	if err != nil {
		return nil, err
	}
	if err := m.adopt(p); err != nil {
		p.kill(err)
		return nil, err
	}
	return p, nil
}

// adopt makes p the machine's process, unless the machine was closed meanwhile.
func (m *machine) adopt(p *process) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	m.proc = p
	return m.record.started(m.dir, p.cmd.Process.Pid)
}

// hear acts on what QEMU says unasked. It runs in the monitor's reader.
func (m *machine) hear(p *process, e event) {
	var about struct {
		Guest   bool   `json:"guest"`
		Reason  string `json:"reason"`
		NoSpace bool   `json:"nospace"`
	}
	if len(e.data) > 0 && json.Unmarshal(e.data, &about) != nil {
		return
	}
	switch {
	case e.name == "SHUTDOWN" && about.Guest:
		p.blame(&vm.StoppedError{How: m.ending(about.Reason)})
	case e.name == "GUEST_PANICKED":
		go p.kill(&vm.StoppedError{How: "the guest's kernel panicked"})
	case e.name == "BLOCK_IO_ERROR" && about.NoSpace:
		// QEMU has stopped the guest; its file system would hang for ever.
		go p.kill(fmt.Errorf("the host's disk is full: %s: no space left on device", m.path(layerName(m.top))))
	}
}

// ending says how the guest ended the machine. A panic shows as a restart: the
// console knows better.
func (m *machine) ending(reason string) string {
	if line := m.hopeless(); line != "" {
		return "the guest's kernel panicked: " + line
	}
	if reason == "guest-reset" {
		return "the guest restarted itself (guest-reset)"
	}
	return fmt.Sprintf("the guest shut itself down (%s)", reason)
}

// process returns the running process, or why there is none.
func (m *machine) process() (*process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, fmt.Errorf("qemu: %s: %w", m.hw.ID, errClosed)
	case m.proc == nil:
		return nil, fmt.Errorf("qemu: %s: not started", m.hw.ID)
	case m.proc.gone():
		return nil, fmt.Errorf("qemu: %s: %w", m.hw.ID, m.proc.death())
	}
	return m.proc, nil
}

// command runs one monitor command on the running process.
func (m *machine) command(ctx context.Context, name string, args any) error {
	p, err := m.process()
	if err != nil {
		return err
	}
	if err := p.monitor.call(ctx, name, args, nil); err != nil {
		return fmt.Errorf("qemu: %s: %w", m.hw.ID, p.explain(ctx, err))
	}
	return nil
}

// endProcess kills the process, so that another can take its place, and cuts
// the line. It does not wait until the process is gone, which takes longer the
// more memory it has; the caller calls wait for that.
func (m *machine) endProcess(cause error) (wait func()) {
	m.cut()
	m.mu.Lock()
	p := m.proc
	m.mu.Unlock()
	if p == nil {
		return func() {}
	}
	p.blame(cause)
	p.cmd.Process.Kill()
	return func() {
		p.kill(cause)
		state := p.cmd.ProcessState
		m.mu.Lock()
		m.spent += state.UserTime() + state.SystemTime()
		m.mu.Unlock()
	}
}

// Close kills QEMU and removes the machine's folder. It may be called at any
// moment and again.
func (m *machine) Close() error {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	p := m.proc
	m.mu.Unlock()
	if p != nil {
		p.kill(errClosed) // first, so that whoever has the token gives it back soon
	}
	m.busy <- struct{}{}
	defer m.unlock()
	m.cut()
	if again {
		return nil
	}
	return m.remove()
}

// remove deletes everything made for the machine.
func (m *machine) remove() error {
	err := os.RemoveAll(m.dir)
	if m.sockets != m.dir {
		err = errors.Join(err, os.RemoveAll(m.sockets))
	}
	if m.lease != nil {
		m.lease.Close()
	}
	return err
}
