//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// command runs a program on the stage and returns what it wrote to its standard
// output. The error of one that fails has the end of what it said. It is asked
// to end when ctx does, and killed if it does not.
func (st *Stage) command(ctx context.Context, program string, args ...string) (string, error) {
	var out, problem bytes.Buffer
	cmd := st.make(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := runToEnd(cmd); err != nil {
		if problem.Len() == 0 {
			problem = out
		}
		return out.String(), commandError(cmd, err, problem.Bytes())
	}
	return out.String(), nil
}

// make prepares a command.
func (st *Stage) make(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(), "ASSAY_HOME="+st.home, "LC_ALL=C.UTF-8", "NO_COLOR=1")
	return cmd
}

func commandError(cmd *exec.Cmd, err error, said []byte) error {
	said = bytes.TrimSpace(said)
	return fmt.Errorf("%s: %w: %q", filepath.Base(cmd.Path), err, said[max(0, len(said)-1024):])
}

// poll calls ready until it succeeds. When ctx ends, it returns ready's last error.
func poll(ctx context.Context, every time.Duration, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(every):
		}
	}
}

// writeText writes a file of the stage.
func writeText(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
