package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"assay/guest"
	"assay/vm"
)

// Rhythm and bounds of a boot.
const (
	dialPause   = 100 * time.Millisecond // between two attempts to dial
	lookPause   = time.Second            // between two looks at the hypervisor
	consoleTail = 64 << 10               // bytes of console that a *vm.BootError carries
)

// A Boot is a guest that is coming up.
type Boot struct {
	// Dial opens the line; it is asked again while it fails.
	Dial func(ctx context.Context) (net.Conn, error)
	// Alive says why no agent will answer any more: a *vm.StoppedError if the guest
	// ended the machine, something else if the hypervisor did.
	Alive func(ctx context.Context) error
	// Console returns what the guest's console printed; nil: there is none.
	Console func() ([]byte, error)
	Limit   time.Duration
}

// Await waits until the agent of a guest that boots, or was resumed, answers. A
// guest that does not come up is a *vm.BootError.
func Await(ctx context.Context, b Boot) (*guest.Client, error) {
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go b.watch(wait, cancel)
	var last error
	for {
		c, err := b.connect(wait)
		if err == nil {
			return c, nil
		}
		if wait.Err() == nil {
			last = err
		}
		select {
		case <-wait.Done():
			return nil, b.why(ctx, wait, last)
		case <-time.After(dialPause):
		}
	}
}

// connect tries once.
func (b Boot) connect(ctx context.Context) (*guest.Client, error) {
	conn, err := b.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return guest.Connect(ctx, conn)
}

// A bootEnd is an end of a boot that is the guest's doing.
type bootEnd string

func (e bootEnd) Error() string { return string(e) }

// watch ends the wait for a guest that will not come.
func (b Boot) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	limit, look := time.NewTimer(b.Limit), time.NewTicker(lookPause)
	defer limit.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			cancel(bootEnd(fmt.Sprintf("no answer from the agent in %v", b.Limit)))
			return
		case <-look.C:
			if words := b.lastWords(); words != "" {
				cancel(bootEnd(words))
				return
			}
			if err := b.Alive(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
				return
			}
		}
	}
}

// lastWords are what a console says when nothing more will come.
var lastWords = regexp.MustCompile(`Kernel panic[^\n]{0,200}|UEFI Interactive Shell[^\n]{0,20}`)

// lastWords returns the console's line that says that no agent will answer.
func (b Boot) lastWords() string {
	return strings.Map(printable, strings.ToValidUTF8(string(lastWords.Find(b.tail())), ""))
}

// printable drops control characters, which a guest could draw on a terminal with.
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 {
		return -1
	}
	return r
}

func (b Boot) tail() []byte {
	if b.Console == nil {
		return nil
	}
	text, err := b.Console()
	if err != nil {
		return nil
	}
	return text[max(0, len(text)-consoleTail):]
}

// why says whose doing the end of the wait was.
func (b Boot) why(ctx, wait context.Context, last error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := context.Cause(wait)
	_, ended := errors.AsType[bootEnd](err)
	if _, stopped := errors.AsType[*vm.StoppedError](err); !ended && !stopped {
		return err
	}
	if last != nil {
		err = fmt.Errorf("%w; the line: %w", err, last)
	}
	return &vm.BootError{Err: err, Console: b.tail()}
}
