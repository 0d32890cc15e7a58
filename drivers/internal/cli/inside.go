package cli

import (
	"context"
	"io"
	"net"
	"slices"
	"time"
)

// An Inside is the way into a guest through its hypervisor's own streaming exec,
// whose commands run as a user with passwordless sudo. It is a Guest. Its fields
// are set before its first use; its methods are safe for concurrent use.
type Inside struct {
	Tool   *Tool    // its patterns must not match what programs in a guest say
	Args   []string // of a call, before the command to run
	Agents func(arch string) ([]byte, error)

	// Why returns nil if the guest runs, else why it does not. It is asked before a
	// line is opened, for some hypervisors start what is off, and when one ends.
	Why func(ctx context.Context) error

	line Line
}

// settleLimit is how long a first boot may take to come to an end.
const settleLimit = 15 * time.Minute

// Exec runs a command as root.
func (in *Inside) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	return in.run(ctx, Call{Args: append([]string{"sudo", "-n"}, argv...), Stdin: stdin})
}

// run runs a command as the user that the hypervisor logs in.
func (in *Inside) run(ctx context.Context, c Call) ([]byte, error) {
	c.Args = slices.Concat(in.Args, c.Args)
	r, err := in.Tool.Do(ctx, c)
	return r.Stdout, err
}

// Settle waits until cloud-init is done with the guest, if it has one. With what
// result does not count: a module that failed is the image's affair.
func (in *Inside) Settle(ctx context.Context) error {
	_, err := in.run(ctx, Call{Args: []string{"sh", "-c", cloudInitScript}, Limit: settleLimit})
	return err
}

// Enter puts the agent in.
func (in *Inside) Enter(ctx context.Context) error { return Enter(ctx, in, in.Agents) }

// Firewall keeps the guest from every network, or no longer.
func (in *Inside) Firewall(ctx context.Context, on bool) error {
	_, err := in.run(ctx, Call{Args: Firewall(on)})
	return err
}

// Dial opens the line to the agent, and cuts the one before it.
func (in *Inside) Dial(ctx context.Context) (net.Conn, error) {
	if in.line.Closed() {
		return nil, errClosed
	}
	if err := in.Why(ctx); err != nil {
		return nil, err
	}
	conn, err := in.Tool.Stream(ctx, slices.Concat(in.Args, []string{"sudo", "-n", AgentPath, "stdio"})...)
	if err != nil {
		return nil, err
	}
	return in.line.Take(Explained(conn, in.Why))
}

// Cut ends the line that there is.
func (in *Inside) Cut() { in.line.Cut() }

// Close ends the line for ever.
func (in *Inside) Close() { in.line.Close() }
