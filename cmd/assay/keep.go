package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"

	"assay"
	"assay/engine"
)

// onKeep says how to reach the machines that stay, and waits for Enter.
func (v *view) onKeep(stdin io.Reader) func(context.Context, assay.Cell, []engine.Live) {
	var one sync.Mutex // one cell after the other has the terminal
	enters := sync.OnceValue(func() <-chan struct{} { return readEnters(stdin) })
	return func(ctx context.Context, cell assay.Cell, machines []engine.Live) {
		if len(machines) == 0 {
			return
		}
		one.Lock()
		defer one.Unlock()
		v.mu.Lock()
		v.muted = true
		v.erase()
		fmt.Fprintf(v.out, "%s  %s; its machines stay:\n", oneLine(cell.ID, 200), cell.Verdict)
		for _, m := range machines {
			fmt.Fprintf(v.out, "  assay shell %s\n", m.ID)
		}
		fmt.Fprintln(v.out, "press Enter to destroy them")
		v.mu.Unlock()
		ended := waitEnter(ctx, enters())
		v.mu.Lock()
		if ended {
			fmt.Fprintln(v.out, "the input is at its end: nobody can look at them; give a terminal, or a pipe that stays open, to keep them")
		}
		v.muted = false
		v.mu.Unlock()
	}
}

// waitEnter returns when the user presses Enter, or ctx ends; ended says that
// nobody is there to press it.
func waitEnter(ctx context.Context, enters <-chan struct{}) (ended bool) {
	select {
	case _, ok := <-enters:
		return !ok
	case <-ctx.Done():
		return false
	}
}

// readEnters sends for each line of in, and closes the channel at its end. It
// reads as long as the process lives: a read cannot be cut short.
func readEnters(in io.Reader) <-chan struct{} {
	enters := make(chan struct{})
	go func() {
		defer close(enters)
		r := bufio.NewReader(in)
		for {
			c, err := r.ReadByte()
			if err != nil {
				return
			}
			if c == '\n' {
				enters <- struct{}{}
			}
		}
	}()
	return enters
}
