package capture

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"assay/guest"
)

// Method is the name under which the agent serves captures.
const Method = "capture"

// request is what Take sends; the fingerprints of known files follow it when
// Known is set.
type request struct {
	Version int      `json:"version"`
	Only    []string `json:"only,omitempty"`
	Roots   []string `json:"roots,omitempty"`
	Known   bool     `json:"known,omitempty"`
	Live    bool     `json:"live,omitempty"` // the host reads the disk: tell only what it cannot
}

// Handler returns the agent's side of Take. It keeps the digests of what it has
// hashed, so that a second capture hashes only what changed since.
func Handler() guest.Handler { return HandlerOf(Local()) }

// HandlerOf is Handler for a guest that is not the running system.
func HandlerOf(src Source) guest.Handler {
	mem := &memory{}
	return func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
		var req request
		if err := json.Unmarshal(args, &req); err != nil {
			return nil, fmt.Errorf("capture: request: %w", err)
		}
		if req.Version != Version {
			return nil, fmt.Errorf("capture: host's collectors are version %d, the agent's %d; build the image again", req.Version, Version)
		}
		s := scan{roots: req.Roots, memory: mem, elsewhere: req.Live}
		if req.Known {
			var err error
			if s.known, err = readPrints(in); err != nil {
				return nil, fmt.Errorf("capture: %w", err)
			}
		}
		return struct{}{}, send(ctx, src, req.Only, s, out)
	}
}

// send collects and streams what it finds.
func send(ctx context.Context, src Source, only []string, s scan, out io.Writer) error {
	enc := newEncoder(out)
	sink := newSink(enc.record)
	if err := collect(ctx, src, only, s, sink); err != nil {
		return err
	}
	for _, p := range sink.Problems() {
		enc.problem(p)
	}
	if s.known != nil {
		enc.seen(s.known.seen)
	}
	if err := enc.end(); err != nil {
		return fmt.Errorf("capture: send: %w", err)
	}
	return nil
}

// Take captures a guest through its agent. The guest is believed nothing but
// what it says of itself: sizes and counts are bounded.
func Take(ctx context.Context, c *guest.Client, opt Options) (Capture, error) {
	return take(ctx, c.Call, opt)
}

// take is Take over anything that calls a method of the agent.
func take(ctx context.Context, call caller, opt Options) (Capture, error) {
	s, err := ask(ctx, call, request{Version, opt.Only, opt.Roots, opt.Known != nil, false}, opt.Known)
	if err != nil {
		return Capture{}, fmt.Errorf("capture: %w", err)
	}
	return finish(opt.Image, s.records, s.problems), nil
}

// askLive is take for what only the running guest tells.
func askLive(ctx context.Context, call caller, only []string) (stream, error) {
	return ask(ctx, call, request{Version: Version, Only: only, Live: true}, nil)
}

// caller calls a method of the agent, as guest.Client does.
type caller func(ctx context.Context, method string, args any, in io.Reader, out io.Writer, result any) error

// ask sends a request and reads the stream of records that answers it.
func ask(ctx context.Context, call caller, req request, manifest *Manifest) (stream, error) {
	var known []Record
	if manifest != nil {
		known = manifest.records
	}
	in, feed := io.Pipe()
	defer in.Close()
	if manifest != nil {
		go func() { feed.CloseWithError(writePrints(feed, known, randomKey())) }()
	} else {
		feed.Close()
	}
	return converse(ctx, call, Method, req, in, func(r io.Reader) (stream, error) { return receive(r, known, manifest != nil) })
}

// converse calls a method whose answer is a stream, and reads it with read.
func converse(ctx context.Context, call caller, method string, args any, in io.Reader, read func(io.Reader) (stream, error)) (stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	called := make(chan error, 1)
	go func() {
		err := call(ctx, method, args, in, w, nil)
		w.CloseWithError(err)
		called <- err
	}()
	s, err := read(r)
	if err != nil {
		cancel()
	}
	r.CloseWithError(context.Canceled)
	if callErr := <-called; callErr != nil && !errors.Is(callErr, context.Canceled) {
		err = callErr
	}
	return s, err
}

// receive reads the stream and puts back the known files that were seen again.
func receive(r io.Reader, known []Record, hasKnown bool) (stream, error) {
	want := 0
	if hasKnown {
		want = (len(known) + 7) / 8
	}
	s, err := decodeStream(r, want)
	if err != nil {
		return s, err
	}
	if hasKnown && len(s.seen) == want {
		p := prints{seen: s.seen}
		s.records = append(s.records, p.unchanged(known)...)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(r, 1))
	return s, err
}

// randomKey makes the key of a capture's fingerprints.
func randomKey() (key [2]uint64) {
	var b [16]byte
	rand.Read(b[:])
	return [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}
