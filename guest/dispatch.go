package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// outcome runs a call and encodes how it ended.
func (s *session) outcome(c *incoming) []byte {
	result, err := s.server.guard(c)
	var o outcome
	if err == nil {
		o.Result, err = json.Marshal(result)
	}
	if err == nil && len(o.Result) > maxPayload-1024 {
		err = fmt.Errorf("%s: got a result of %d bytes, want at most %d: %w", c.Method, len(o.Result), maxPayload-1024, ErrLimit)
	}
	if err != nil {
		o = outcome{Error: printable(err.Error(), maxMessage), Kind: kindOf(err)}
	}
	b, err := json.Marshal(o)
	if err != nil {
		return []byte(`{"error":"agent: the result has no JSON form"}`)
	}
	return b
}

// guard keeps a panic of one call from ending the others.
func (s *Server) guard(c *incoming) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("agent: %s: panic: %v", c.Method, p)
		}
	}()
	return s.dispatch(c)
}

// dispatch finds who serves a call: a handler, or the System.
func (s *Server) dispatch(c *incoming) (any, error) {
	out := streamWriter{c.out, frameData}
	if c.Method == methodPing {
		return nil, nil
	}
	if h := s.Handlers[c.Method]; h != nil {
		return h(c.ctx, c.Args, c.in, out)
	}
	serve := systemMethods[c.Method]
	if serve == nil || s.System == nil {
		return nil, fmt.Errorf("agent: got method %q, which it does not have: %w", c.Method, errors.ErrUnsupported)
	}
	return serve(c.ctx, s.System, c)
}

// A systemMethod serves a call with a System.
type systemMethod func(ctx context.Context, sys System, c *incoming) (any, error)

// bind makes a systemMethod out of a function of decoded arguments.
func bind[A any](fn func(ctx context.Context, sys System, a A, c *incoming) (any, error)) systemMethod {
	return func(ctx context.Context, sys System, c *incoming) (any, error) {
		var a A
		if len(c.Args) > 0 {
			if err := json.Unmarshal(c.Args, &a); err != nil {
				return nil, err
			}
		}
		return fn(ctx, sys, a, c)
	}
}

var systemMethods = map[string]systemMethod{
	methodInfo: func(ctx context.Context, sys System, _ *incoming) (any, error) { return sys.Info(ctx) },
	methodExec: bind(serveExec),
	methodPush: bind(func(ctx context.Context, sys System, a pushArgs, c *incoming) (any, error) {
		return sys.Receive(ctx, a.Path, a.PushOptions, c.in)
	}),
	methodPull: bind(func(ctx context.Context, sys System, a pullArgs, c *incoming) (any, error) {
		return sys.Send(ctx, a.Path, a.PullOptions, streamWriter{c.out, frameData})
	}),
	methodRead: bind(func(ctx context.Context, sys System, a readArgs, c *incoming) (any, error) {
		b, err := sys.ReadFile(ctx, a.Path, min(a.Limit, maxFile))
		if err == nil {
			_, err = streamWriter{c.out, frameData}.Write(b)
		}
		return nil, err
	}),
	methodWrite: bind(func(ctx context.Context, sys System, a writeArgs, c *incoming) (any, error) {
		b, err := readAll(c.in, maxFile)
		if err != nil {
			return nil, err
		}
		return nil, sys.WriteFile(ctx, a.Path, b, a.Mode, a.User)
	}),
	methodWait: bind(func(ctx context.Context, sys System, a Condition, _ *incoming) (any, error) {
		return nil, sys.Wait(ctx, a)
	}),
	methodRenew: bind(func(ctx context.Context, sys System, a Identity, _ *incoming) (any, error) {
		r := lacking(sys, a)
		if err := sys.Renew(ctx, a); err != nil {
			return nil, err
		}
		if info, err := sys.Info(ctx); err == nil {
			r.Info = &info
		}
		return r, nil
	}),
	methodFreeze: bind(serveFreeze),
}

// lacking says which host keys of a new machine id does not replace, where sys
// can tell.
func lacking(sys System, id Identity) renewed {
	server, ok := sys.(interface{ HostKeys() []string })
	if !ok || id.MachineID == "" {
		return renewed{}
	}
	return renewed{Lacking: slices.DeleteFunc(server.HostKeys(), func(t string) bool {
		return slices.ContainsFunc(id.HostKeys, func(k HostKey) bool { return k.Type == t })
	})}
}

func serveExec(ctx context.Context, sys System, cmd Command, c *incoming) (any, error) {
	s := Streams{Stdout: streamWriter{c.out, frameData}, Stderr: streamWriter{c.out, frameError}, Expired: c.expired}
	if c.Input {
		s.Stdin = c.in
	}
	if cmd.TTY != nil {
		s.Sizes = c.sizes
	}
	return sys.Exec(ctx, cmd, s)
}

// maxFile bounds what ReadFile and WriteFile hold in memory.
const maxFile = 64 << 20

// readAll reads r to its end, and refuses more than limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("got more than %d bytes: %w", limit, ErrLimit)
	}
	return b, err
}
