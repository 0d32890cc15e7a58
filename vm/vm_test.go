package vm_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"assay/vm"
)

// bare is a machine that can do nothing beyond the contract.
type bare struct{}

func (bare) ID() string                             { return "m" }
func (bare) Dial(context.Context) (net.Conn, error) { return nil, errors.New("no line") }
func (bare) Close() error                           { return nil }

// able is a machine that also keeps its console and stands still.
type able struct{ bare }

func (able) Console() ([]byte, error)      { return []byte("booting"), nil }
func (able) Suspend(context.Context) error { return nil }
func (able) Resume(context.Context) error  { return nil }

// wrapper is a decorator, as the engine's.
type wrapper struct{ vm.Machine }

func (w wrapper) Unwrap() vm.Machine { return w.Machine }

func TestOfSeesThroughWrappers(t *testing.T) {
	want := []vm.Capability{vm.CapConsole, vm.CapSuspend}
	for _, m := range []vm.Machine{able{}, wrapper{able{}}, wrapper{wrapper{able{}}}} {
		if got := vm.Of(m); !slices.Equal(got, want) {
			t.Errorf("%T: got %v, want %v", m, got, want)
		}
	}
	if got := vm.Of(bare{}); len(got) != 0 {
		t.Errorf("bare: got %v, want nothing", got)
	}
}

func TestAs(t *testing.T) {
	c, err := vm.As[vm.Consoler](wrapper{able{}})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := c.Console(); string(text) != "booting" {
		t.Errorf("got the console %q of another machine", text)
	}
	_, err = vm.As[vm.Forker](wrapper{able{}})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want errors.ErrUnsupported", err)
	}
	if want := "m: Forker is not supported"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&vm.UnsupportedError{Machine: "utm", Want: "snapshot", Instead: "capture works everywhere"}, "utm: snapshot is not supported; capture works everywhere"},
		{&vm.ResourceError{What: "memory", Got: "64 GiB", Has: "24 GiB"}, "memory: got 64 GiB, want at most 24 GiB, which is what this host has"},
		{&vm.UnavailableError{Driver: "qemu", Reason: "qemu-img is not installed", Fix: "assay doctor --fix"}, "qemu: qemu-img is not installed; fix: assay doctor --fix"},
		{&vm.BootError{Err: errors.New("no answer")}, "boot: no answer"},
		{&vm.StoppedError{How: "the guest shut itself down"}, "the guest shut itself down"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
