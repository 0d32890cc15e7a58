package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// copier is a guest that takes files by one way, by both, or by none.
type copier struct {
	putErr, execErr error
	put, piped      []byte
}

func (c *copier) Put(_ context.Context, data []byte, _ string, _ fs.FileMode) error {
	if c.putErr == nil {
		c.put = data
	}
	return c.putErr
}

func (c *copier) Exec(_ context.Context, _ []string, stdin io.Reader) ([]byte, error) {
	if c.execErr != nil {
		return nil, c.execErr
	}
	var err error
	c.piped, err = io.ReadAll(stdin)
	return nil, err
}

// TestPutFallsBack proves that the agent gets in where the hypervisor cannot copy
// files, and that both reasons are told where nothing works.
func TestPutFallsBack(t *testing.T) {
	agent := []byte("agent")
	c := &copier{}
	if err := put(t.Context(), c, agent); err != nil || !bytes.Equal(c.put, agent) || c.piped != nil {
		t.Errorf("got %v, put %q, piped %q; want it put only", err, c.put, c.piped)
	}
	c = &copier{putErr: errors.New("no sftp")}
	if err := put(t.Context(), c, agent); err != nil || !bytes.Equal(c.piped, agent) {
		t.Errorf("without sftp: got %v and %q, want the agent", err, c.piped)
	}
	c = &copier{putErr: errors.New("no sftp"), execErr: errors.New("no shell")}
	if err := put(t.Context(), c, agent); err == nil || !strings.Contains(err.Error(), "no sftp") || !strings.Contains(err.Error(), "no shell") {
		t.Errorf("without anything: got %v, want both reasons", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c = &copier{putErr: context.Canceled}
	if err := put(ctx, c, agent); !errors.Is(err, context.Canceled) || c.piped != nil {
		t.Errorf("after the end: got %v and %q, want no second try", err, c.piped)
	}
}
