//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A savedState is a machine that stopped after its boot: its disk and the state
// that QEMU wrote of it. It is what one can build without assay.
type savedState struct {
	dir   string
	disk  string
	state string
}

// sharedState returns a saved machine that lasts for the whole run.
func (st *Stage) sharedState(ctx context.Context) (*savedState, error) {
	if st.state != nil {
		return st.state, nil
	}
	dir, err := st.folder("state")
	if err != nil {
		return nil, err
	}
	s := &savedState{dir, filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "state")}
	p, err := st.startPlain(ctx, plainOptions{})
	if err != nil {
		return nil, err
	}
	boot, cancel := context.WithTimeout(ctx, bootDeadline)
	defer cancel()
	if err := errors.Join(p.save(boot, s), p.close()); err != nil {
		return nil, fmt.Errorf("saving a state: %w", err)
	}
	st.state = s
	return s, nil
}

// save waits until the machine has booted, writes its state, and keeps its disk.
func (p *plain) save(ctx context.Context, s *savedState) error {
	if err := errors.Join(p.firstTrue(ctx), p.waitSSH(ctx)); err != nil {
		return err
	}
	if err := p.monitor.call(ctx, "stop", nil, nil); err != nil {
		return err
	}
	if err := p.monitor.call(ctx, "migrate", map[string]any{"uri": "exec:cat > '" + s.state + "'"}, nil); err != nil {
		return err
	}
	err := poll(ctx, 20*time.Millisecond, func() error { return p.arrived(ctx, "query-migrate", "completed") })
	if err != nil {
		return err
	}
	return os.Rename(p.disk(), s.disk)
}

// arrived returns an error until a query answers with a status.
func (p *plain) arrived(ctx context.Context, query, want string) error {
	var got struct {
		Status string `json:"status"`
	}
	if err := p.monitor.call(ctx, query, nil, &got); err != nil {
		return err
	}
	if got.Status != want {
		return fmt.Errorf("%s: got %q, want %q", query, got.Status, want)
	}
	return nil
}

// resume starts a machine from the saved state and returns it when it has run a
// first command. The caller closes it.
func (st *Stage) resume(ctx context.Context, s *savedState) (*plain, error) {
	p, err := st.startPlain(ctx, plainOptions{base: s.disk, incoming: s.state})
	if err != nil {
		return nil, err
	}
	err = poll(ctx, 5*time.Millisecond, func() error { return p.arrived(ctx, "query-status", "paused") })
	if err == nil {
		err = p.monitor.call(ctx, "cont", nil, nil)
	}
	if err == nil {
		err = p.firstTrue(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func openIncoming(ctx context.Context, st *Stage) (Sampler, error) {
	s, err := st.sharedState(ctx)
	if err != nil {
		return nil, err
	}
	return timed("launch", func(ctx context.Context) (func() error, error) {
		p, err := st.resume(ctx, s)
		if err != nil {
			return nil, err
		}
		return p.close, nil
	}), nil
}
