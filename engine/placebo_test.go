package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/builtins"
	"assay/engine"
	"assay/vm"
)

// A stubborn driver counts the forks of its machines, and may refuse them.
type stubborn struct {
	vm.Driver
	forks, closed chan string
	err           error
}

func (d stubborn) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.Driver.Launch(ctx, spec)
	return stubbornMachine{m, d}, err
}

type stubbornMachine struct {
	vm.Machine
	d stubborn
}

func (m stubbornMachine) Unwrap() vm.Machine { return m.Machine }

func (m stubbornMachine) Fork(ctx context.Context, snapshot string, spec vm.Spec) (vm.Machine, error) {
	m.d.forks <- spec.Name
	if m.d.err != nil {
		return nil, m.d.err
	}
	f, err := vm.As[vm.Forker](m.Machine)
	if err != nil {
		return nil, err
	}
	fork, err := f.Fork(ctx, snapshot, spec)
	return &closing{fork, m.d.closed, spec.Name}, err
}

// closing tells when it is closed.
type closing struct {
	vm.Machine
	closed chan string
	name   string
}

func (m *closing) Unwrap() vm.Machine { return m.Machine }

func (m *closing) Close() error {
	m.closed <- m.name
	return m.Machine.Close()
}

// twins runs a script on a stubborn driver.
func twins(t *testing.T, memory int64, fork error, source string) (d stubborn, err error) {
	t.Helper()
	env := environment(t.TempDir())
	env.Builtins = builtins.All()
	d = stubborn{Driver: env.Drivers[0], forks: make(chan string, 99), closed: make(chan string, 99), err: fork}
	env.Drivers = []vm.Driver{d}
	env.Host = engine.Capacity{CPUs: 4, Memory: memory}
	_, err = engine.Exec(t.Context(), env, engine.Script{Name: "t.star", Source: []byte(source), Image: "debian-12", Driver: d.Name()})
	left, _ := filepath.Glob(filepath.Join(env.StateDir, "run", "*", "*.twin*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return d, err
}

// A twin is forked once, closed as soon as it was looked at, and never the test's trouble.
func TestTwins(t *testing.T) {
	const two = "m = launch()\nb = capture(m)\na = capture(m)\n"
	for name, tt := range map[string]struct {
		memory       int64
		fork         error
		source       string
		forks, kills int
	}{
		"measured":              {8 << 30, nil, two + "x = diff(b, a)\ny = diff(b, a)\nz = launch()", 1, 1},
		"never measured":        {8 << 30, nil, two, 1, 1},
		"no room":               {900 << 20, nil, two + "x = diff(b, a)", 0, 0},
		"gives way":             {1400 << 20, nil, two + "n = launch()\nx = diff(b, a)", 1, 1},
		"cannot be forked":      {8 << 30, os.ErrPermission, two + "x = diff(b, a)", 1, 0},
		"nothing to compare to": {8 << 30, nil, "m = launch()", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := twins(t, tt.memory, tt.fork, tt.source)
			if err != nil {
				t.Error(err)
			}
			if len(d.forks) != tt.forks || len(d.closed) != tt.kills {
				t.Errorf("got %d forks and %d closed, want %d and %d", len(d.forks), len(d.closed), tt.forks, tt.kills)
			}
			for range len(d.forks) {
				if name := <-d.forks; !strings.HasSuffix(name, ".twin") {
					t.Errorf("got a fork %s, want a twin", name)
				}
			}
		})
	}
}
