package main

import (
	"time"

	"assay/guest"
)

// watchSize sends the terminal's size whenever it changes. This system has no
// signal for it.
func watchSize(size func() guest.Size) (<-chan guest.Size, func()) {
	sizes, done := make(chan guest.Size, 1), make(chan struct{})
	go func() {
		last := size()
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				return
			}
			if now := size(); now != last {
				last = now
				select {
				case sizes <- now:
				case <-done:
					return
				}
			}
		}
	}()
	return sizes, func() { close(done) }
}
