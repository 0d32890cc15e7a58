//go:build linux

// Command assay-agent is the program in the guest: it answers the host on one
// line, and is the only part of assay that runs there.
//
//	assay-agent             serves the virtio-serial port assay.0 for ever
//	assay-agent port PATH   serves a serial port, such as /dev/ttyS1, for ever
//	assay-agent vsock PORT  serves the host's connections to an AF_VSOCK port for ever
//	assay-agent stdio       serves standard input and output until they end
//	assay-agent version     prints the version
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
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
		ctx, s := prepare()
		return servePort(ctx, s, portPath)
	case len(args) == 2 && args[0] == "port":
		ctx, s := prepare()
		return servePort(ctx, s, args[1])
	case len(args) == 2 && args[0] == "vsock":
		return vsock(args[1])
	case len(args) == 1 && args[0] == "stdio":
		ctx, s := prepare()
		return serveStdio(ctx, s)
	case len(args) == 1 && args[0] == "version":
		_, err := fmt.Printf("%s (protocol %d)\n", assay.Version, guest.Protocol)
		return err
	}
	return fmt.Errorf("got %q, want no argument, or port PATH, vsock PORT, stdio or version", args)
}

// vsock serves the port that is called by a number.
func vsock(number string) error {
	port, err := strconv.ParseUint(number, 10, 32)
	if err != nil || port == 0 {
		return fmt.Errorf("vsock: got %q, want the number of a port", number)
	}
	ctx, s := prepare()
	return serveVsock(ctx, s, uint32(port))
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
