//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assay/drivers/all"
	"assay/guest"
	"assay/vm"
)

// crowd is how many machines are made at once.
const crowd = 10

// tenSubject asks how long ten machines take when all are wanted at once.
func tenSubject() Subject {
	return Subject{
		Name: "ten", Reps: 5,
		Measures: []Measure{{Name: "ten", Title: "ten machines at once, until the last has run its first command", Unit: "s"}},
		Contestants: []Contestant{
			{Name: "assay", What: "ten at once of the driver's Launch, the agent's hello, a new identity, true", Open: openTen},
			{Name: "assay run -j 10", What: "ten cells of a script, each launch() and exec(), by their events: first launch begun to last exec ended", Open: openTenCells},
			{Name: "qemu -incoming", What: "ten at once of what it does for launch", Open: openTenIncoming},
		},
	}
}

// atOnce calls do so many times at once, and waits for all.
func atOnce(n int, do func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func openTen(_ context.Context, st *Stage) (Sampler, error) {
	return timed("ten", func(ctx context.Context) (func() error, error) {
		machines, err := st.launchMany(ctx, crowd, guestMemory)
		return func() error { return closeAll(machines) }, err
	}), nil
}

// launchMany makes n machines at once, each having run its first command. What
// was made is returned with an error too; the caller closes it.
func (st *Stage) launchMany(ctx context.Context, n int, memory int64) ([]vm.Machine, error) {
	machines := make([]vm.Machine, n)
	driver := all.Drivers(st.home, nil)[0]
	err := atOnce(n, func(i int) (err error) {
		machines[i], err = st.launchOne(ctx, driver, fmt.Sprintf("bench-%d", i), memory)
		return err
	})
	return machines, err
}

func (st *Stage) launchOne(ctx context.Context, driver vm.Driver, name string, memory int64) (vm.Machine, error) {
	dir, err := st.folder("assay")
	if err != nil {
		return nil, err
	}
	m, err := driver.Launch(ctx, vm.Spec{
		Name: name, Owner: filepath.Base(st.dir), Dir: dir, Image: st.image,
		CPUs: guestCPUs, Memory: memory, Network: vm.Network{Mode: vm.NetworkNone},
	})
	if err != nil {
		return nil, err
	}
	return m, greet(ctx, m, name)
}

// greet does what a script's launch does when a machine is there, and runs true.
func greet(ctx context.Context, m vm.Machine, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	conn, err := m.Dial(ctx)
	if err != nil {
		return err
	}
	c, err := guest.Connect(ctx, conn)
	if err != nil {
		return err
	}
	defer c.Close()
	var random [80]byte
	rand.Read(random[:])
	err = c.Renew(ctx, guest.Identity{Entropy: random[:64], Time: time.Now(), Hostname: name, MachineID: hex.EncodeToString(random[64:])})
	if err != nil {
		return err
	}
	exit, err := c.Exec(ctx, guest.Command{Argv: []string{"true"}}, nil, nil, nil)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("true: got exit code %d, want 0", exit.Code)
	}
	return err
}

// closeAll closes the machines that are there.
func closeAll(machines []vm.Machine) error {
	return atOnce(len(machines), func(i int) error {
		if machines[i] == nil {
			return nil
		}
		return machines[i].Close()
	})
}

func openTenCells(_ context.Context, st *Stage) (Sampler, error) {
	return func(ctx context.Context) (Sample, error) {
		got, err := st.script(ctx, "ten.star", append(onImage(), "-j", fmt.Sprint(crowd))...)
		if err != nil {
			return nil, err
		}
		if _, err := got.need("exec", crowd); err != nil {
			return nil, err
		}
		took, err := got.span("launch", "exec")
		return one("ten", took), err
	}, nil
}

func openTenIncoming(ctx context.Context, st *Stage) (Sampler, error) {
	s, err := st.sharedState(ctx)
	if err != nil {
		return nil, err
	}
	return timed("ten", func(ctx context.Context) (func() error, error) {
		machines := make([]*plain, crowd)
		err := atOnce(crowd, func(i int) (err error) { machines[i], err = st.resume(ctx, s); return err })
		return func() error { return closePlain(machines) }, err
	}), nil
}

func closePlain(machines []*plain) (err error) {
	for _, p := range machines {
		if p != nil {
			err = errors.Join(err, p.close())
		}
	}
	return err
}

// remove is os.RemoveAll as what is called at an end.
func remove(path string) func() error { return func() error { return os.RemoveAll(path) } }
