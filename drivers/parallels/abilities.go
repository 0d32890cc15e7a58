package parallels

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// SetLink implements vm.Networker. A machine without a network has no card that
// a cable would fit.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.wrap("link", err)
	}
	defer give()
	if err := m.pull(ctx, up); err != nil {
		return m.wrap("link", err)
	}
	m.mu.Lock()
	m.down = !up
	m.mu.Unlock()
	return nil
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
func (m *machine) Screenshot(ctx context.Context) ([]byte, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, m.wrap("screenshot", err)
	}
	defer give()
	dir, err := os.MkdirTemp(m.spec.Dir, "screen-")
	if err != nil {
		return nil, m.wrap("screenshot", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "screen.png")
	if err := m.d.run(ctx, "capture", m.uuid, "--file", path); err != nil {
		return nil, m.wrap("screenshot", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, m.wrap("screenshot", err)
	}
	defer f.Close()
	png, err := io.ReadAll(io.LimitReader(f, maxScreen+1))
	if err == nil && len(png) > maxScreen {
		err = fmt.Errorf("got more than %s", cli.Bytes(maxScreen))
	}
	return png, m.wrap("screenshot", err)
}

// Usage implements vm.Usager: what the process of the machine costs.
func (m *machine) Usage(ctx context.Context) (vm.Usage, error) {
	f, err := m.d.facts(ctx, m.uuid)
	if err != nil {
		return vm.Usage{}, m.wrap("usage", err)
	}
	home := filepath.Clean(f.Home)
	u, err := cli.ProcessUsage(ctx, m.uuid, home)
	if err != nil {
		return u, m.wrap("usage", err)
	}
	if m.found == "" {
		home = m.dir() // with what lies beside the bundle
	}
	u.Disk, err = cli.Occupied(home)
	return u, m.wrap("usage", err)
}
