package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		return "restore the snapshot: forks would lie on its owner's disks", m.user != nil
	}
	return "", false
}

// SetLink plugs the network cable in, or pulls it out.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	return m.Control(ctx, "link", func(ctx context.Context) error {
		word := map[bool]string{true: "on", false: "off"}[up]
		if _, err := m.d.run(ctx, "controlvm", m.id, "setlinkstate1", word); err != nil {
			return err
		}
		i, err := m.d.info(ctx, m.id)
		if got := i["cableconnected1"]; err == nil && got != word {
			err = fmt.Errorf("got a cable that is %q, want %s", got, word)
		}
		return err
	})
}

// Suspend lets the guest stand still.
func (m *machine) Suspend(ctx context.Context) error {
	return m.Control(ctx, "suspend", func(ctx context.Context) error { return m.hold(ctx, true) })
}

// Resume lets a suspended guest go on.
func (m *machine) Resume(ctx context.Context) error {
	return m.Control(ctx, "resume", func(ctx context.Context) error { return m.hold(ctx, false) })
}

// hold makes the machine stand still, or not. It is idempotent.
func (m *machine) hold(ctx context.Context, still bool) error {
	s, word, err := m.d.state(ctx, m.id)
	if err != nil {
		return err
	}
	verb, want := "resume", running
	if still {
		verb, want = "pause", paused
	}
	if s != want {
		if s != running && s != paused {
			return fmt.Errorf("%w: it is %s", cli.ErrState, word)
		}
		_, err = m.d.run(ctx, "controlvm", m.id, verb)
		if err = errors.Join(err, m.d.until(ctx, m.id, want)); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.suspended = still
	m.mu.Unlock()
	return nil
}

// held reports whether the machine was told to stand still.
func (m *machine) held() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspended
}

// Screenshot returns what the machine's display shows.
func (m *machine) Screenshot(ctx context.Context) (png []byte, err error) {
	err = m.Control(ctx, "screenshot", func(ctx context.Context) error {
		file := filepath.Join(m.home, "screen.png")
		defer os.Remove(file)
		if _, err := m.d.run(ctx, "controlvm", m.id, "screenshotpng", file); err != nil {
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
		if u, err = cli.ProcessUsage(ctx, m.id); err != nil {
			return err
		}
		u.Disk, err = cli.Occupied(m.home)
		return err
	})
	return u, err
}
