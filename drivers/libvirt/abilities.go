package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assay/vm"
)

// capabilities are what every machine of this driver can do, in vm.Of's order.
func capabilities() []vm.Capability { return vm.Of(&machine{}) }

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Console returns the last MiB of what the guest's console printed, over all
// restores. The bytes are the guest's.
func (m *machine) Console() ([]byte, error) { return m.console.bytes(), nil }

// SetLink plugs the network cable in, or pulls it out.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	return m.command(ctx, "link", "domif-setlink", m.name, m.hw.MAC, state)
}

// command runs one call that changes the machine.
func (m *machine) command(ctx context.Context, what string, args ...string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.fail(what, err)
	}
	defer give()
	if err := m.change(ctx, args...); err != nil {
		return m.fail(what, err)
	}
	return nil
}

// Suspend lets the guest stand still; the line stays open and silent.
func (m *machine) Suspend(ctx context.Context) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.fail("suspend", err)
	}
	defer give()
	if err := m.change(ctx, "suspend", m.name); err != nil {
		return m.fail("suspend", err)
	}
	m.suspended = true
	return nil
}

// Resume lets a suspended guest go on. One that runs already, runs.
func (m *machine) Resume(ctx context.Context) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.fail("resume", err)
	}
	defer give()
	if !m.suspended {
		return nil
	}
	if err := m.change(ctx, "resume", m.name); err != nil {
		return m.fail("resume", err)
	}
	m.suspended = false
	return nil
}

// Usage returns what libvirt knows of the running QEMU.
func (m *machine) Usage(ctx context.Context) (vm.Usage, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return vm.Usage{}, m.fail("usage", err)
	}
	defer give()
	u, err := m.usage(ctx)
	if err != nil {
		return u, m.fail("usage", err)
	}
	return u, nil
}

func (m *machine) usage(ctx context.Context) (vm.Usage, error) {
	r, err := m.site.virsh.Run(ctx, "domstats", m.name, "--cpu-total", "--balloon", "--block")
	if err != nil {
		return vm.Usage{}, err
	}
	stats := assignments(r.Text())
	u := vm.Usage{
		CPU:    m.spent + time.Duration(stats["cpu.time"]),
		Memory: stats["balloon.rss"] << 10,
		Disk:   stats["block.0.allocation"],
	}
	if u.Memory > 0 {
		return u, nil
	}
	r, err = m.site.virsh.Run(ctx, "dommemstat", m.name) // older ones tell it there
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(r.Text()) {
		if rest, ok := strings.CutPrefix(line, "rss "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			u.Memory = n << 10
			return u, err
		}
	}
	return u, fmt.Errorf("dommemstat: got %.200q, want rss", r.Text())
}

// assignments reads lines such as "  cpu.time=123"; what is no number is left out.
func assignments(out string) map[string]int64 {
	all := map[string]int64{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			all[name] = n
		}
	}
	return all
}

// maxScreen bounds a screenshot in either form, in bytes.
const maxScreen = 64 << 20

// Screenshot returns what the machine's display shows.
func (m *machine) Screenshot(ctx context.Context) ([]byte, error) {
	file := filepath.Join(m.local, "screen")
	defer os.Remove(file)
	if err := m.command(ctx, "screenshot", "screenshot", m.name, file); err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, m.fail("screenshot", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxScreen+1))
	if err == nil && len(data) > maxScreen {
		err = fmt.Errorf("got more than %d MiB", maxScreen>>20)
	}
	if err == nil && !bytes.HasPrefix(data, []byte("\x89PNG")) {
		data, err = toPNG(data) // QEMU before 7.1 knows only this one form
	}
	if err != nil {
		return nil, m.fail("screenshot", err)
	}
	return data, nil
}

// toPNG translates a binary PPM, a header of three numbers and three bytes for
// each point.
func toPNG(ppm []byte) ([]byte, error) {
	var width, height, depth int
	r := bytes.NewReader(ppm)
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &width, &height, &depth); err != nil || depth != 255 {
		return nil, fmt.Errorf("got %.20q, want a PPM with 255 colours: %w", ppm, errors.Join(err))
	}
	points := ppm[len(ppm)-r.Len():]
	if width <= 0 || height <= 0 || width > 1<<14 || height > 1<<14 || len(points) < 3*width*height {
		return nil, fmt.Errorf("got %d bytes for %d times %d points", len(points), width, height)
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		img.Set(i%width, i/width, color.RGBA{points[3*i], points[3*i+1], points[3*i+2], 255})
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}
