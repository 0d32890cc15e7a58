//go:build linux

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// How long a guest may take until its agent answers.
const (
	bootKVM   = time.Minute
	bootTCG   = 4 * time.Minute
	resumeMax = time.Minute // for a guest that was running when it was saved

	loadMax  = 2 * time.Minute  // for QEMU to load saved state, memory included
	renewMax = 15 * time.Second // for an agent that has greeted to renew its guest
)

const (
	consoleLook = 250 * time.Millisecond // how often a booting console is read for last words
	starvedMax  = 3                      // times its limit that a boot may wait for a processor
	tailSize    = 64 << 10               // bytes of console that a *vm.BootError carries
)

// A guestError is an end that is the guest's doing, not the hypervisor's.
type guestError string

func (e guestError) Error() string { return string(e) }

// guestsDoing reports whether err is the guest's doing.
func guestsDoing(err error) bool {
	_, ended := errors.AsType[*vm.StoppedError](err)
	_, ok := errors.AsType[guestError](err)
	return ok || ended
}

// firstLayer makes the machine's first layer over the image, and UEFI variables
// of its own.
func (m *machine) firstLayer() error {
	err := createOverlay(m.path(layerName(0)), m.hw.Image.Disk, m.hw.Image.Format, m.hw.Size)
	if err != nil {
		return err
	}
	m.grew(0)
	if m.hw.Code != "" {
		return copyFile(varsTemplate(m.hw.Code), m.path(varsName))
	}
	return nil
}

// boot boots the image. The returned client is connected; the caller closes it.
func (m *machine) boot(ctx context.Context, mem ram) (*guest.Client, error) {
	if err := m.firstLayer(); err != nil {
		return nil, err
	}
	p, err := m.start(ctx, mem, nil)
	if err != nil {
		return nil, err
	}
	c, err := m.await(ctx, p, m.d.bootDeadline(m.tools), true)
	if err != nil {
		return nil, m.bootError(ctx, err)
	}
	return c, m.grow(ctx, c)
}

// bootDeadline is how long a boot may take.
func (d *driver) bootDeadline(t tools) time.Duration {
	switch {
	case d.cfg.BootDeadline > 0:
		return d.cfg.BootDeadline
	case t.Accel == accelTCG:
		return bootTCG
	}
	return bootKVM
}

// await waits until the agent answers on a fresh line. It gives up at once when
// QEMU ends or, if the guest is booting, the console says last words: a guest
// that runs may print what it likes.
func (m *machine) await(ctx context.Context, p *process, limit time.Duration, booting bool) (*guest.Client, error) {
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go m.watch(wait, cancel, p, limit, booting)
	conn, err := m.dial(wait)
	if err != nil {
		return nil, err
	}
	c, err := guest.Connect(wait, conn)
	if err != nil {
		conn.Close()
		if cause := context.Cause(wait); cause != nil {
			err = cause
		}
		return nil, p.explain(ctx, err)
	}
	return c, nil
}

// watch cancels the wait for a guest that will not come. The time in which a
// busy host kept QEMU waiting for a processor is not the guest's.
func (m *machine) watch(ctx context.Context, cancel context.CancelCauseFunc, p *process, limit time.Duration, booting bool) {
	began := time.Now()
	look := time.NewTicker(consoleLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.done:
			cancel(p.death())
			return
		case <-look.C:
			if time.Since(began) > limit+min(starved(p.cmd.Process.Pid), starvedMax*limit) {
				cancel(guestError(fmt.Sprintf("no answer from the agent in %v", time.Since(began).Round(time.Second))))
				return
			}
			if line := m.hopeless(); booting && line != "" {
				cancel(guestError(line))
				return
			}
		}
	}
}

// lastWords are what a console says when nothing more will come: the kernel's,
// and those of firmware that found nothing to boot.
var lastWords = regexp.MustCompile(`Kernel panic[^\n]{0,200}|UEFI Interactive Shell[^\n]{0,20}`)

// hopeless returns the line of the console's tail that says that no agent will
// answer; "" if there is none.
func (m *machine) hopeless() string {
	tail, err := readTail(m.path(consoleName), tailSize)
	if err != nil {
		return ""
	}
	return strings.Map(printable, string(bytes.ToValidUTF8(lastWords.Find(tail), nil)))
}

// printable drops control characters, which a guest could use to draw on a terminal.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return -1
	}
	return r
}

// bootError says why a boot failed. The guest's failures are *vm.BootError with
// the end of the console; the hypervisor's and the caller's are passed on.
func (m *machine) bootError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if line := m.hopeless(); line != "" {
		err = guestError(line) // says more than the end that follows
	}
	if !guestsDoing(err) {
		return err
	}
	tail, _ := readTail(m.path(consoleName), tailSize)
	return &vm.BootError{Err: err, Console: tail}
}

// seeded waits until cloud-init is done with what a seed disk brought: else its
// work on files, users and host keys would pass for that of the first command.
func (m *machine) seeded(ctx context.Context, c *guest.Client, progress func(string)) error {
	if m.hw.Image.Seed == "" {
		return nil
	}
	if progress != nil {
		progress("waiting for cloud-init")
	}
	return cli.CloudInit(ctx, c)
}

// grow gives the guest's root file system the room that its disk has beyond the
// image's. A guest without the programs keeps the image's size.
func (m *machine) grow(ctx context.Context, c *guest.Client) error {
	if m.hw.Size <= m.hw.Image.Size {
		return nil
	}
	return cli.Grow(ctx, c)
}

// A saved is a guest's state on disk, and how to come up from it.
type saved struct {
	mem      ram
	state    string // path
	linkDown bool   // the network cable was out
}

// resume starts QEMU on the machine's writable layer and lets it run on from s.
func (m *machine) resume(ctx context.Context, s saved) (*process, error) {
	state, err := os.Open(s.state)
	if err != nil {
		return nil, err
	}
	var more []string
	if s.linkDown {
		more = []string{"-S"} // the cable is pulled before the guest can use it
	}
	p, err := m.start(ctx, s.mem, state, more...)
	if err != nil {
		return nil, err
	}
	if err := p.load(ctx, s); err != nil {
		err = p.explain(ctx, err)
		p.kill(err)
		return nil, fmt.Errorf("load state: %w", err)
	}
	return p, nil
}

// load waits until the state that QEMU inherited is in, if anything is to be
// done before the guest runs on; else QEMU lets it run by itself.
func (p *process) load(ctx context.Context, s saved) error {
	if !s.linkDown {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loadMax, fmt.Errorf("state: not loaded in %v", loadMax))
	defer cancel()
	if err := p.poll(ctx, "query-status", statusIs(func(s string) (bool, error) { return s != "inmigrate", nil })); err != nil {
		return err
	}
	if err := p.monitor.call(ctx, "set_link", linkArgs(false), nil); err != nil {
		return err
	}
	return p.monitor.call(ctx, "cont", nil, nil)
}

// statusIs reads the status from a query's answer.
func statusIs(done func(status string) (bool, error)) func(json.RawMessage) (bool, error) {
	return func(answer json.RawMessage) (bool, error) {
		var now struct{ Status string }
		if err := json.Unmarshal(answer, &now); err != nil {
			return false, err
		}
		return done(now.Status)
	}
}

// poll repeats a query until done says that its answer will do.
func (p *process) poll(ctx context.Context, query string, done func(json.RawMessage) (bool, error)) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		var answer json.RawMessage
		if err := p.monitor.call(ctx, query, nil, &answer); err != nil {
			return err
		}
		if ok, err := done(answer); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
