// Command assay runs software that nobody trusts in a throw-away virtual
// machine, says what it did to that machine, grades it, and remembers.
//
// This package knows flags, terminals and how the rooms are wired together. What
// a verb, a driver, a rule or a report is, it does not know.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"assay/engine"
)

func main() { os.Exit(run()) }

// run is main with an exit code, so that tests can call it in their own process.
func run() int {
	ctx, stop := interruptible(context.Background(), os.Stderr)
	defer stop()
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(a)
	root.SetArgs(os.Args[1:])
	err := root.ExecuteContext(ctx)
	if errors.Is(context.Cause(ctx), engine.ErrInterrupted) && !a.whole {
		err = engine.ErrInterrupted // what came of it is no news
	}
	return a.finish(err)
}

// ends lists the signals that end assay: a terminal that is closed does, unless
// nohup was told otherwise.
func ends() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// interruptible returns a context that ends at the first signal of ends, with
// engine.ErrInterrupted as its cause. The second ends the process at once:
// hypervisors die with it, and the next run sweeps what is left.
func interruptible(parent context.Context, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, ends()...)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(stderr, "assay: interrupted; closing machines (once more to leave at once)")
		cancel(engine.ErrInterrupted)
		if _, ok := <-signals; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
