//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"assay/guest"
)

// watchSize sends the terminal's size whenever it changes.
func watchSize(size func() guest.Size) (<-chan guest.Size, func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	sizes, done := make(chan guest.Size, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
				select {
				case sizes <- size():
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return sizes, func() {
		signal.Stop(changed)
		close(done)
	}
}
