package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"assay/guest"
	"assay/vm"
)

// enterTime is how long the agent of a new machine may take to answer.
const enterTime = time.Minute

// tryTime is how long each step of a try may take, but for the launch.
const tryTime = time.Minute

// tryMachine is what "doctor --try" asks for: what most hosts can give.
var tryMachine = vm.Spec{CPUs: 1, Memory: 512 << 20}

// try makes a machine with a driver, and does in it what tests do: a check for each
// step, up to the first that fails.
func (a *app) try(ctx context.Context, image, driver string) []check {
	d, err := a.usableDriver(ctx, driver)
	if err != nil {
		return []check{failed("launch", err)}
	}
	began := time.Now()
	m, err := a.fresh(ctx, image, d, tryMachine)
	defer m.Close()
	checks := []check{tried("launch", fmt.Sprintf("%s with %s, entered after %s", image, d.Name(), seconds(time.Since(began))), err)}
	for _, step := range []struct {
		name string
		do   func(context.Context, *freshMachine) (string, error)
	}{{"command", tryCommand}, {"files", tryFiles}, {"snapshot", trySnapshot}} {
		if err != nil {
			return checks
		}
		var found string
		inner, cancel := context.WithTimeoutCause(ctx, tryTime, fmt.Errorf("no end after %s", tryTime))
		found, err = step.do(inner, m)
		cancel()
		checks = append(checks, tried(step.name, found, err))
	}
	began = time.Now()
	err = m.Close()
	return append(checks, tried("end", "gone after "+seconds(time.Since(began)), err))
}

func tried(step, found string, err error) check {
	if err != nil {
		return failed(step, err)
	}
	return check{Name: "try " + step, State: good, Found: found}
}

// failed is the check of a step that did not work, with what can be done about it.
func failed(step string, err error) check {
	c := check{Name: "try " + step, State: bad, Found: err.Error(), Fix: map[string]string{
		"launch":   "\"assay doctor\" without --try says what this host lacks; another --driver or --image may work",
		"command":  "restart the hypervisor's service, and try again",
		"files":    "see that the guest's disk is neither full nor read-only; nothing else is between: files go over the agent's line, and need no ssh, no network and no mount",
		"snapshot": "scripts that ask first (vm.can(\"snapshot\")) run without",
		"end":      "assay gc",
	}[step]}
	var (
		resource *vm.ResourceError
		gone     *vm.UnavailableError
		boot     *vm.BootError
	)
	switch {
	case errors.As(err, &resource):
		c.Fix = "close other programs, or give the hypervisor more: the machine wants 1 processor and 512 MiB"
	case errors.As(err, &gone) && gone.Fix != "":
		c.Fix = gone.Fix
	case errors.As(err, &boot) && len(boot.Console) > 0:
		c.Fix = "its console ends: " + oneLine(string(boot.Console[max(0, len(boot.Console)-200):]), 200)
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrNotExist):
		c.Fix = "another --image or --driver: \"assay image list\", and docs/drivers.md"
	}
	return c
}

// tryCommand runs a command.
func tryCommand(ctx context.Context, m *freshMachine) (string, error) {
	var out bytes.Buffer
	exit, err := m.client.Exec(ctx, guest.Command{Argv: []string{"uname", "-sr"}}, nil, &out, nil)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("uname: exit code %d", exit.Code)
	}
	return oneLine(out.String(), 100), err
}

// tryFiles copies a file into the guest and back.
func tryFiles(ctx context.Context, m *freshMachine) (string, error) {
	const path, size = "/tmp/assay-doctor", 1 << 20
	sent := make([]byte, size)
	rand.Read(sent)
	began := time.Now()
	if err := m.client.WriteFile(ctx, path, sent, 0o600, ""); err != nil {
		return "", fmt.Errorf("in: %w", err)
	}
	back, err := m.client.ReadFile(ctx, path, size)
	if err != nil {
		return "", fmt.Errorf("out: %w", err)
	}
	if !bytes.Equal(back, sent) {
		return "", fmt.Errorf("got other bytes back than were sent")
	}
	return fmt.Sprintf("1 MiB in and out over the agent's line in %s", seconds(time.Since(began))), nil
}

// trySnapshot saves the machine and goes back, where it can.
func trySnapshot(ctx context.Context, m *freshMachine) (string, error) {
	s, err := vm.As[vm.Snapshotter](m.vm)
	if err != nil {
		return "none here: captures before and after tell the same", nil
	}
	m.client.Close()
	began := time.Now()
	if err := s.Snapshot(ctx, "try"); err != nil {
		return "", err
	}
	saved := time.Since(began)
	if err := s.Restore(ctx, "try"); err != nil {
		return "", err
	}
	return fmt.Sprintf("saved in %s, back in %s", seconds(saved), seconds(time.Since(began)-saved)), m.enter(ctx)
}
