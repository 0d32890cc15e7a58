package parallels

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// SetLink implements vm.Networker. A machine without a network has no card that
// a cable would fit.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	return m.Control(ctx, "link", func(ctx context.Context) error {
		err := m.pull(ctx, up)
		if err == nil {
			m.down = !up
		}
		return err
	})
}

func (m *machine) pull(ctx context.Context, up bool) error {
	verb := "--device-disconnect"
	if up {
		verb = "--device-connect"
	}
	for _, card := range m.cards {
		if err := m.set(ctx, verb, card); err != nil {
			return err
		}
	}
	return nil
}

// maxScreen bounds a screenshot.
const maxScreen = 64 << 20

// Screenshot implements vm.Screenshotter.
func (m *machine) Screenshot(ctx context.Context) (png []byte, err error) {
	err = m.Control(ctx, "screenshot", func(ctx context.Context) error {
		png, err = m.capture(ctx)
		return err
	})
	return png, err
}

func (m *machine) capture(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp(m.spec.Dir, "screen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "screen.png")
	if err := m.d.run(ctx, "capture", m.uuid, "--file", path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxScreen {
		return nil, fmt.Errorf("got %s, want at most %s", cli.Bytes(info.Size()), cli.Bytes(maxScreen))
	}
	return os.ReadFile(path)
}

// Usage implements vm.Usager: what the process of the machine costs.
func (m *machine) Usage(ctx context.Context) (u vm.Usage, err error) {
	err = m.Control(ctx, "usage", func(ctx context.Context) error {
		f, err := m.d.facts(ctx, m.uuid)
		if err != nil {
			return err
		}
		home := filepath.Clean(f.Home)
		if u, err = cli.ProcessUsage(ctx, m.uuid, home); err != nil {
			return err
		}
		if m.found == "" {
			home = m.dir() // with what lies beside the bundle
		}
		u.Disk, err = cli.Occupied(home)
		return err
	})
	return u, err
}
