package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Freezer is a System whose disk can be made to stand still.
type Freezer interface {
	// Freeze writes what the file system of path has in memory to its disk, and
	// keeps everybody who wants to write there waiting until during returns, ctx
	// ends, or FreezeMax has passed. Where that is impossible it writes all the
	// same, keeps nobody waiting, and says why to during, which is always called
	// unless there is an error.
	Freeze(ctx context.Context, path string, during func(still Stillness) error) error
}

// FreezeMax is how long a file system stays frozen at most.
const FreezeMax = 10 * time.Second

// Stillness is what an agent says of a disk that the host wants to read.
type Stillness struct {
	Frozen bool   `json:"frozen"`
	Why    string `json:"why,omitempty"` // it is not; the guest's words
}

// methodFreeze lasts as long as the freeze: the agent writes a Stillness when
// the disk is still, and the end of the input lets it go on.
const methodFreeze = "freeze"

type freezeArgs struct {
	Path string `json:"path"`
}

// Freeze has the guest write what it has in memory to the file system of path,
// keeps that file system still while during runs, and lets it go on. A guest
// that cannot hold still says why, and is only flushed. Should this side vanish,
// the agent lets go by itself.
//
// An error of during is returned as it is. Any other error means that during did
// not run, or, as ErrThawed, that the file system may have gone on meanwhile.
func (c *Client) Freeze(ctx context.Context, path string, during func(Stillness) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	still := make(chan Stillness, 1)
	done := make(chan struct{})
	over := make(chan error, 1)
	hold := func(io.Writer) error {
		select {
		case <-done:
		case <-ctx.Done():
		}
		return nil
	}
	go func() {
		over <- c.call(ctx, request{method: methodFreeze, args: freezeArgs{path}, feed: hold, out: stillWriter{still}})
	}()
	select {
	case s := <-still:
		s.Why = printable(s.Why, maxWord)
		err := during(s)
		close(done)
		if thawed := <-over; err == nil && thawed != nil {
			err = fmt.Errorf("%w: %w", ErrThawed, thawed)
		}
		return err
	case err := <-over:
		if err == nil {
			err = errors.New("got an end of the freeze, want word that the disk is still")
		}
		return fmt.Errorf("freeze: %s: %w", path, err)
	}
}

// ErrThawed says that a file system was let go before its time.
var ErrThawed = errors.New("the guest's disk did not stay frozen")

// stillWriter takes the agent's word that the disk is still: one frame.
type stillWriter struct{ still chan Stillness }

func (w stillWriter) Write(p []byte) (int, error) {
	var s Stillness
	if err := decode(p, &s); err != nil {
		return 0, err
	}
	select {
	case w.still <- s:
		return len(p), nil
	default:
		return 0, errors.New("got word twice that the disk is still")
	}
}

func serveFreeze(ctx context.Context, sys System, a freezeArgs, c *incoming) (any, error) {
	f, ok := sys.(Freezer)
	if !ok {
		return nil, fmt.Errorf("agent: this system cannot be frozen: %w", errors.ErrUnsupported)
	}
	return nil, f.Freeze(ctx, a.Path, func(still Stillness) error {
		word, err := json.Marshal(still)
		if err != nil {
			return err
		}
		if _, err := (streamWriter{c.out, frameData}).Write(word); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, c.in)
		return err
	})
}
