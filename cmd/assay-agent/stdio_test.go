//go:build linux

package main

import (
	"syscall"
	"testing"
	"time"
)

func TestStandardInputIsInterruptible(t *testing.T) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil { // blocking, as a program is given it
		t.Fatal(err)
	}
	defer syscall.Close(ends[1])
	r := interruptible(uintptr(ends[0]), "stdin")
	over := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		over <- err
	}()
	time.Sleep(50 * time.Millisecond) // most likely it reads by now; the result is the same
	r.Close()
	select {
	case err := <-over:
		if err == nil {
			t.Error("got no error, want that the file is closed")
		}
	case <-time.After(10 * time.Second):
		t.Error("a read goes on after Close")
	}
}
