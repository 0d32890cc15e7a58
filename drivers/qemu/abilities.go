//go:build linux

package qemu

import (
	"context"
	"time"

	"assay/vm"
)

// maxConsole is how much of its console a machine returns.
const maxConsole = 1 << 20

// clockTick is the unit of CPU time in /proc, the same on every Linux.
const clockTick = 10 * time.Millisecond

// capabilities are what every machine of this driver can do, in vm.Of's order.
func capabilities() []vm.Capability { return vm.Of(&machine{}) }

// Console returns the last MiB of what the guest's console printed, over all
// restores. The bytes are the guest's.
func (m *machine) Console() ([]byte, error) { return readTail(m.path(consoleName), maxConsole) }

// SetLink plugs the network cable in, or pulls it out.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if err := m.command(ctx, "set_link", linkArgs(up)); err != nil {
		return err
	}
	m.mu.Lock()
	m.linkDown = !up
	m.mu.Unlock()
	return nil
}

func linkArgs(up bool) map[string]any { return map[string]any{"name": "nic", "up": up} }

// Suspend lets the guest stand still; the line stays open and silent.
func (m *machine) Suspend(ctx context.Context) error { return m.hold(ctx, "stop", true) }

// Resume lets a suspended guest go on.
func (m *machine) Resume(ctx context.Context) error { return m.hold(ctx, "cont", false) }

func (m *machine) hold(ctx context.Context, command string, suspended bool) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if err := m.command(ctx, command, nil); err != nil {
		return err
	}
	m.mu.Lock()
	m.suspended = suspended
	m.mu.Unlock()
	return nil
}

// Usage reads what the running QEMU costs from /proc and from its folder.
func (m *machine) Usage(context.Context) (vm.Usage, error) {
	p, err := m.process()
	if err != nil {
		return vm.Usage{}, err
	}
	u := vm.Usage{PID: p.cmd.Process.Pid}
	stat, err := readStat(u.PID)
	if err != nil {
		return u, err
	}
	m.mu.Lock()
	u.CPU = m.spent + time.Duration(stat.ticks)*clockTick
	m.mu.Unlock()
	if u.Memory, err = residentMemory(u.PID); err != nil {
		return u, err
	}
	u.Disk, err = allocated(m.dir)
	return u, err
}

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}
