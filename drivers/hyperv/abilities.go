package hyperv

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// hold is what hold.ps1 is told.
type hold struct {
	ID    string `json:"id"`
	Still bool   `json:"still"`
}

// Suspend lets the guest stand still in memory.
func (m *machine) Suspend(ctx context.Context) error {
	return m.inTurn(ctx, "suspend", func(ctx context.Context) error {
		return m.change(ctx, "hold", hold{m.id, true}, paused)
	})
}

// Resume lets a suspended guest go on.
func (m *machine) Resume(ctx context.Context) error {
	return m.inTurn(ctx, "resume", func(ctx context.Context) error {
		return m.change(ctx, "hold", hold{m.id, false}, running)
	})
}

// SetLink plugs the network cable in, or pulls it out.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	return m.inTurn(ctx, "link", func(ctx context.Context) error {
		if err := m.plug(ctx, up); err != nil {
			return err
		}
		m.mu.Lock()
		m.down = !up
		m.mu.Unlock()
		return nil
	})
}

// pulled reports whether the cable was pulled.
func (m *machine) pulled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

// plug plugs the cable into the machine's switch, or pulls it out. A machine
// without a network has no switch, and stays as it is.
func (m *machine) plug(ctx context.Context, up bool) error {
	in := struct {
		ID     string `json:"id"`
		Up     bool   `json:"up"`
		Switch string `json:"switch"`
	}{m.id, up, m.network}
	var now struct{ Connected int }
	if err := m.d.ask(ctx, "link", in, &now); err != nil {
		return err
	}
	if want := up && m.network != ""; want != (now.Connected > 0) {
		return fmt.Errorf("got %d cards with a cable, want that to be %v: %w", now.Connected, want, cli.ErrState)
	}
	return nil
}

// Usage asks Hyper-V what the machine costs.
func (m *machine) Usage(ctx context.Context) (u vm.Usage, err error) {
	err = m.inTurn(ctx, "usage", func(ctx context.Context) error {
		var said struct {
			Memory, CPU int64 // bytes; units of 100 ns
			PID         int
		}
		if err := m.d.ask(ctx, "usage", about{m.id}, &said); err != nil {
			return err
		}
		u = vm.Usage{CPU: time.Duration(said.CPU) * 100, Memory: said.Memory, PID: said.PID}
		if m.found == "" {
			u.Disk, err = cli.Occupied(m.d.place.Dir(m.name))
		}
		return err
	})
	return u, err
}

// The size of a screenshot, whatever the guest's screen has.
const (
	screenWidth  = 800
	screenHeight = 600
)

// Screenshot returns what the machine's display shows.
func (m *machine) Screenshot(ctx context.Context) (shot []byte, err error) {
	err = m.inTurn(ctx, "screenshot", func(ctx context.Context) error {
		in := map[string]any{"id": m.id, "width": screenWidth, "height": screenHeight}
		var got struct{ Pixels []byte }
		if err := m.d.ask(ctx, "screen", in, &got); err != nil {
			return err
		}
		shot, err = picture(got.Pixels, screenWidth, screenHeight)
		return err
	})
	return shot, err
}

// picture makes a PNG of pixels of 16 bits, five for red, six for green, five for
// blue, the low byte first.
func picture(pixels []byte, width, height int) ([]byte, error) {
	if len(pixels) != 2*width*height {
		return nil, fmt.Errorf("got %d bytes of picture, want %d", len(pixels), 2*width*height)
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		p := uint16(pixels[2*i]) | uint16(pixels[2*i+1])<<8
		c := color.RGBA{R: uint8(p>>11) << 3, G: uint8(p>>5&0x3f) << 2, B: uint8(p&0x1f) << 3, A: 0xff}
		img.SetRGBA(i%width, i/width, c)
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}
