package fake

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	"assay/capture"
	"assay/guest"
	"assay/vm"
)

// maxConsole is how much of its console a machine keeps.
const maxConsole = 1 << 20

// A machine is one fake machine.
type machine struct {
	driver *driver
	spec   vm.Spec
	id     string
	fault  fault
	off    context.CancelFunc // cuts the power of everything in the machine
	power  context.Context
	start  time.Time

	mu      sync.Mutex
	system  *system // nil once closed
	saved   map[string]*system
	line    net.Conn // the agent's end
	console []byte
	paused  bool
	resumed chan struct{} // closed when not paused
}

var (
	_ vm.Snapshotter = (*machine)(nil)
	_ vm.Forker      = (*machine)(nil)
	_ vm.Consoler    = (*machine)(nil)
	_ vm.Networker   = (*machine)(nil)
	_ vm.Suspender   = (*machine)(nil)
	_ vm.Usager      = (*machine)(nil)
)

// errClosed is what a machine that is gone answers.
var errClosed = fmt.Errorf("the machine is closed: %w", net.ErrClosed)

// boot switches a new machine on.
func (d *driver) boot(ctx context.Context, spec vm.Spec) (*machine, error) {
	m := d.machine(spec)
	m.fault = faultOf(spec.Image.Name)
	var err error
	if m.system, err = bootSystem(spec, m.power); err != nil {
		m.off()
		return nil, err
	}
	m.print("Linux version " + kernel + "\nWelcome to " + m.system.os.Name + "!\n")
	if err := m.fault.boot(ctx, d.BootDelay); err != nil {
		m.print(m.fault.lastWords())
		console, _ := m.Console()
		m.off()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &vm.BootError{Err: err, Console: console}
	}
	m.print("assay login: ")
	d.keep(m)
	return m, nil
}

// machine returns a machine without a system, that nobody knows yet.
func (d *driver) machine(spec vm.Spec) *machine {
	power, off := context.WithCancel(context.Background())
	resumed := make(chan struct{})
	close(resumed)
	return &machine{
		driver: d, spec: spec, id: "fake-" + spec.Owner + "-" + spec.Name, power: power, off: off,
		start: time.Now(), saved: map[string]*system{}, resumed: resumed,
	}
}

// ID implements vm.Machine.
func (m *machine) ID() string { return m.id }

// print adds to the console.
func (m *machine) print(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.console = append(m.console, text...)
	m.console = m.console[max(0, len(m.console)-maxConsole):]
}

// Dial implements vm.Machine.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.system == nil {
		return nil, fmt.Errorf("dial: %s: %w", m.id, errClosed)
	}
	m.cut()
	host, agent := net.Pipe()
	m.line = agent
	s := &guest.Server{
		System:   m.fault.system(m.system, agent),
		Handlers: map[string]guest.Handler{capture.Method: m.fault.look(m.system)},
	}
	conn := &pausable{Conn: agent, m: m}
	go func() { _ = s.Serve(m.power, m.fault.line(conn)) }()
	return host, nil
}

// cut ends the line. The caller holds the lock.
func (m *machine) cut() {
	if m.line != nil {
		m.line.Close()
		m.line = nil
	}
}

// A pausable line passes nothing to the guest while the machine is suspended.
type pausable struct {
	net.Conn
	m *machine
}

func (c *pausable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.m.mu.Lock()
	resumed := c.m.resumed
	c.m.mu.Unlock()
	select {
	case <-resumed:
	case <-c.m.power.Done():
	}
	return n, err
}

// Close implements vm.Machine.
func (m *machine) Close() error {
	m.mu.Lock()
	gone := m.system == nil
	m.system, m.saved = nil, nil
	m.cut()
	m.mu.Unlock()
	m.off()
	if gone {
		return nil
	}
	return m.driver.forget(m)
}

// Snapshot implements vm.Snapshotter.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case m.system == nil:
		return fmt.Errorf("snapshot: %s: %w", m.id, errClosed)
	case m.saved[name] != nil:
		return fmt.Errorf("snapshot: %q: %w", name, fs.ErrExist)
	}
	m.saved[name] = m.system.clone(m.power)
	m.cut()
	return nil
}

// Restore implements vm.Snapshotter.
func (m *machine) Restore(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case m.system == nil:
		return fmt.Errorf("restore: %s: %w", m.id, errClosed)
	case m.saved[name] == nil:
		return fmt.Errorf("restore: %q: %w", name, fs.ErrNotExist)
	}
	m.system.procs.kill("SIGKILL", func(*process) bool { return true })
	m.system = m.saved[name].clone(m.power)
	m.cut()
	return nil
}

// Fork implements vm.Forker.
func (m *machine) Fork(ctx context.Context, snapshot string, spec vm.Spec) (vm.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	saved := m.saved[snapshot]
	m.mu.Unlock()
	if saved == nil {
		return nil, fmt.Errorf("fork: %q: %w", snapshot, fs.ErrNotExist)
	}
	spec.Image, spec.CPUs, spec.Memory, spec.Disk, spec.Network = m.spec.Image, m.spec.CPUs, m.spec.Memory, m.spec.Disk, m.spec.Network
	child := m.driver.machine(spec)
	child.fault = m.fault
	child.system = saved.clone(child.power)
	child.console, _ = m.Console()
	m.driver.keep(child)
	return child, nil
}

// Console implements vm.Consoler.
func (m *machine) Console() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.console), nil
}

// SetLink implements vm.Networker. There is no network; the console tells that
// the cable was pulled, as a kernel's would.
func (m *machine) SetLink(_ context.Context, up bool) error {
	state := map[bool]string{true: "up", false: "down"}[up]
	m.print("eth0: link " + state + "\n")
	return nil
}

// Suspend implements vm.Suspender.
func (m *machine) Suspend(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.system == nil {
		return fmt.Errorf("suspend: %s: %w", m.id, errClosed)
	}
	if !m.paused {
		m.paused, m.resumed = true, make(chan struct{})
	}
	return nil
}

// Resume implements vm.Suspender.
func (m *machine) Resume(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.paused {
		m.paused = false
		close(m.resumed)
	}
	return nil
}

// Usage implements vm.Usager. Memory and disk are what the made-up files take.
func (m *machine) Usage(context.Context) (vm.Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.system == nil {
		return vm.Usage{}, fmt.Errorf("usage: %s: %w", m.id, errClosed)
	}
	m.system.disk.mu.Lock()
	defer m.system.disk.mu.Unlock()
	return vm.Usage{CPU: time.Since(m.start), Memory: 1<<20 + m.system.disk.used, Disk: m.system.disk.used}, nil
}

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}
