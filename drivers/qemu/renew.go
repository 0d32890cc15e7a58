//go:build linux

package qemu

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"assay/guest"
	"assay/vm"
)

// An identity gives what a resumed guest is told of the present, once for each
// try. What takes long was begun when it was made.
type identity func(ctx context.Context) (guest.Identity, error)

// newcomer is the identity of a machine that is its template's or snapshot's
// twin until it has names, an address, randomness and keys of its own.
func (m *machine) newcomer() identity {
	n := guest.NewIdentity(m.record.Name, m.hostKeys)
	var id guest.Identity
	return func(ctx context.Context) (guest.Identity, error) {
		var err error
		if id.MachineID == "" {
			id, err = n.Identity(ctx)
		}
		if m.hw.Network == vm.NetworkOpen {
			id.Address = openAddress(id.Entropy[0])
		}
		return id, err
	}
}

// openAddress picks an address of the open network that is none of QEMU's own
// (2 to 4), nor what it gives the first guest (15).
func openAddress(b byte) string { return fmt.Sprintf("10.0.2.%d", 16+int(b)%200) }

// same is the identity of a machine that stays itself after a restore: it only
// gets the host's clock, and randomness that its former life has not used.
func same(context.Context) (guest.Identity, error) {
	secret := make([]byte, 64)
	rand.Read(secret)
	return guest.Identity{Entropy: secret}, nil
}

// renew waits for the agent of a resumed guest and gives it the present. An
// agent that greets and then says nothing is dialled once more.
func (m *machine) renew(ctx context.Context, p *process, who identity) error {
	err := m.tell(ctx, p, who)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = m.tell(ctx, p, who)
	}
	return err
}

// tell dials the agent and gives the guest its identity. The line stays, for
// whoever takes it by Greeted.
func (m *machine) tell(ctx context.Context, p *process, who identity) error {
	c, err := m.await(ctx, p, resumeMax, false)
	if err != nil {
		return err
	}
	if err := introduce(ctx, p, c, who); err != nil {
		c.Close()
		m.cut()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.greeted = c
	return nil
}

// introduce gives a guest its identity on a fresh line.
func introduce(ctx context.Context, p *process, c *guest.Client, who identity) error {
	id, err := who(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, renewMax,
		fmt.Errorf("no answer in %v: %w", renewMax, context.DeadlineExceeded))
	defer cancel()
	id.Time = time.Now()
	if err := c.Renew(ctx, id); err != nil {
		return fmt.Errorf("renew: %w", p.explain(ctx, err))
	}
	return nil
}
