package vmware

import (
	"context"
	"errors"
	"os"
	"runtime"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	switch c {
	case vm.CapUsage:
		return "ask the guest, or the Task Manager", runtime.GOOS == "windows"
	case vm.CapConsole:
		return "ask the guest's journal: the serial console is its owner's", m.user != nil
	case vm.CapFork:
		if m.user != nil {
			return "restore the snapshot: forks would lie on its owner's disks", true
		}
		fallthrough
	case vm.CapSnapshot, vm.CapMemory:
		return "Player has no snapshots: use Workstation, or capture and diff", m.p != nil && !m.p.clones()
	}
	return "", false
}

// SetLink plugs the network cable in, or pulls it out. That of a machine without a
// network stays out.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	return m.Control(ctx, "link", func(ctx context.Context) error {
		if err := m.alive(ctx); err != nil || !m.open {
			return err
		}
		verb := map[bool]string{true: "connectNamedDevice", false: "disconnectNamedDevice"}[up]
		_, err := m.p.run(ctx, verb, m.vmx, "ethernet0")
		return err
	})
}

// Suspend lets the guest stand still.
func (m *machine) Suspend(ctx context.Context) error { return m.hold(ctx, "pause", true) }

// Resume lets a suspended guest go on.
func (m *machine) Resume(ctx context.Context) error { return m.hold(ctx, "unpause", false) }

// hold is idempotent; nothing tells whether a machine stands still.
func (m *machine) hold(ctx context.Context, verb string, still bool) error {
	return m.Control(ctx, verb, func(ctx context.Context) error {
		if err := m.alive(ctx); err != nil || m.held() == still {
			return err
		}
		if _, err := m.p.run(ctx, verb, m.vmx); err != nil {
			return err
		}
		m.mu.Lock()
		m.suspended = still
		m.mu.Unlock()
		return m.alive(ctx)
	})
}

// held reports whether the machine was told to stand still.
func (m *machine) held() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspended
}

// Screenshot returns what the machine's display shows. VMware asks the guest's
// tools, and a user of the guest, for it.
func (m *machine) Screenshot(ctx context.Context) (png []byte, err error) {
	err = m.Control(ctx, "screenshot", func(ctx context.Context) error {
		user, password := "tester", m.password
		if m.user != nil {
			user, password = m.user.tools.account.User, m.user.tools.account.Password
		}
		file := m.path("screen.png")
		defer os.Remove(file)
		if _, err := m.p.run(ctx, "-gu", user, "-gp", password, "captureScreen", m.vmx, file); err != nil {
			return err
		}
		png, err = cli.ReadTail(file, maxScreen)
		return err
	})
	return png, err
}

// maxScreen bounds a screenshot, in bytes.
const maxScreen = 32 << 20

// Usage asks the host what the machine's process costs.
func (m *machine) Usage(ctx context.Context) (u vm.Usage, err error) {
	err = m.Control(ctx, "usage", func(ctx context.Context) error {
		if u, err = cli.ProcessUsage(ctx, m.vmx); err != nil {
			return errors.Join(m.alive(ctx), err)
		}
		u.Disk, err = cli.Occupied(m.home)
		return err
	})
	return u, err
}
