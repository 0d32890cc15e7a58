//go:build linux

// Command assay-agent is the program in the guest: it answers the host on one
// line, and is the only part of assay that runs there.
//
//	assay-agent          serves the virtio-serial port assay.0 for ever
//	assay-agent stdio    serves standard input and output until they end
//	assay-agent version  prints the version
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"assay"
	"assay/guest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "assay-agent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		return servePort(prepare())
	case len(args) == 1 && args[0] == "stdio":
		ctx, s := prepare()
		return s.Serve(ctx, guest.Stdio(os.Stdin, os.Stdout))
	case len(args) == 1 && args[0] == "version":
		_, err := fmt.Printf("%s (protocol %d)\n", assay.Version, guest.Protocol)
		return err
	}
	return fmt.Errorf("got %q, want no argument, or stdio, or version", args)
}

// prepare makes the process fit to live beside what it runs: small, the last to
// be killed when memory ends, and in a cgroup of its own.
func prepare() (context.Context, *guest.Server) {
	debug.SetGCPercent(200) // a collection costs a translated guest more than these few MiB
	debug.SetMemoryLimit(64 << 20)
	syscall.Umask(0o022)
	guest.Thaw("/")                                              // before anything writes
	os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) // needs root; no harm without
	cgroup, err := guest.OwnCgroup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "assay-agent: commands get no cgroup:", err)
	}
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	system := &guest.OS{Cgroup: cgroup}
	return ctx, &guest.Server{System: system, Handlers: handlers(system)}
}
