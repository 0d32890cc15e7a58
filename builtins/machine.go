package builtins

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/capture"
	"assay/engine"
	"assay/guest"
	"assay/vm"
)

// A Machine is a machine as scripts see it: the driver's handle, and the line
// to the agent, which is dialled again whenever it was cut.
type Machine struct {
	vm      vm.Machine
	session *engine.Session
	record  assay.Machine
	name    string
	image   vm.Image
	info    guest.Info
	ran     atomic.Bool   // a command was run in it
	adopted bool          // somebody else made it
	host    *capture.Host // shared with its forks

	captured atomic.Bool // it was looked at, or is just now

	mu        sync.Mutex
	client    *guest.Client // nil: dial
	snapshots int           // so far, for their names
}

var machineType = &engine.Type{
	Name: "Machine",
	Doc:  "A running virtual machine. It lives until the test ends.",
	Attrs: []engine.Attr{
		engine.Field("id", "str", "The hypervisor's own name for the machine.", func(m *Machine) starlark.Value { return starlark.String(m.vm.ID()) }),
		engine.Field("name", "str", "Its name within the test; also its hostname.", func(m *Machine) starlark.Value { return starlark.String(m.name) }),
		engine.Field("image", "str", "The image that it was made from.", func(m *Machine) starlark.Value { return starlark.String(m.image.Name) }),
		engine.Field("driver", "str", "The driver that made it.", func(m *Machine) starlark.Value { return starlark.String(m.record.Driver) }),
		engine.Field("os", "str", `The guest's operating system as os-release names it: "debian".`, func(m *Machine) starlark.Value { return starlark.String(m.info.OS.ID) }),
		engine.Field("version", "str", `The version of the operating system: "12".`, func(m *Machine) starlark.Value { return starlark.String(m.info.OS.Version) }),
		engine.Field("kernel", "str", "The release of the guest's kernel.", func(m *Machine) starlark.Value { return starlark.String(m.info.OS.Kernel) }),
		engine.Field("arch", "str", `The guest's architecture: "amd64".`, func(m *Machine) starlark.Value { return starlark.String(m.info.OS.Arch) }),
		engine.Field("user", "str", "The user that commands run as unless they say otherwise.", func(m *Machine) starlark.Value { return starlark.String(m.info.User) }),
		engine.Field("home", "str", "The home folder of that user.", func(m *Machine) starlark.Value { return starlark.String(m.info.Home) }),
		engine.Field("cpus", "int", "The number of processors.", func(m *Machine) starlark.Value { return starlark.MakeInt(m.record.CPUs) }),
		engine.Field("memory", "int", "The memory in bytes.", func(m *Machine) starlark.Value { return starlark.MakeInt64(m.record.Memory) }),
		engine.Method("path", "GuestPath", `A path in this machine, for transfer. "~" is the user's home.`, pathArgs{},
			func(m *Machine, a pathArgs) (starlark.Value, error) { return newGuestPath(m, a.Path) }),
		engine.Method("can", "bool", "Whether it has an ability. A script that asks first runs on drivers with fewer of them.", abilityArgs{},
			func(m *Machine, a abilityArgs) (starlark.Value, error) {
				why, err := m.lacks(a.Ability)
				return starlark.Bool(why == ""), err
			}),
		engine.Method("lacks", "str", "Why it has no such ability, and what can be done instead; empty if it has it.", abilityArgs{},
			func(m *Machine, a abilityArgs) (starlark.Value, error) {
				why, err := m.lacks(a.Ability)
				return starlark.String(why), err
			}),
	},
}

type abilityArgs struct {
	Ability string `star:"ability" help:"\"snapshot\", \"memory\" (of snapshots), \"fork\", \"console\", \"screenshot\", \"network\", \"suspend\", \"usage\" or \"disk\""`
}

// lacks says why the machine has no such ability; "" if it has it.
func (m *Machine) lacks(ability string) (string, error) {
	why, err := m.session.Lack(m.vm, m.record.Driver, ability)
	if err != nil {
		return "", engine.Scriptf("for parameter ability: %w", err)
	}
	return why, nil
}

// need is the error of a verb whose machine lacks an ability.
func (m *Machine) need(s *engine.Session, verb string, ability vm.Capability) error {
	why, err := s.Lack(m.vm, m.record.Driver, string(ability))
	if err == nil && why != "" {
		err = engine.Scriptf("%s: %s: %s", verb, m.name, why)
	}
	return err
}

type pathArgs struct {
	Path string `star:"path" help:"absolute, or below ~"`
}

// String returns what print shows.
func (m *Machine) String() string { return fmt.Sprintf("<machine %s>", m.name) }

// Type returns "Machine".
func (m *Machine) Type() string { return "Machine" }

// Freeze does nothing: a machine has no parts that scripts could change.
func (m *Machine) Freeze() {}

// Truth returns True.
func (m *Machine) Truth() starlark.Bool { return true }

// Hash makes machines usable as keys.
func (m *Machine) Hash() (uint32, error) { return starlark.String(m.vm.ID()).Hash() }

// Attr implements starlark.HasAttrs.
func (m *Machine) Attr(name string) (starlark.Value, error) { return machineType.Attr(m, name) }

// AttrNames implements starlark.HasAttrs.
func (m *Machine) AttrNames() []string { return machineType.AttrNames() }

// dialTime is how long an agent that is alive may take to answer.
const dialTime = time.Minute

// line returns the line to the agent. A line that was cut since the last verb,
// by a restore or because the agent was started again, is dialled anew.
func (m *Machine) line(ctx context.Context) (*guest.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client != nil && m.client.Err() == nil {
		return m.client, nil
	}
	if m.client = m.greeted(); m.client != nil {
		return m.client, nil
	}
	clock := engine.NewClock(m.vm, dialTime)
	ctx, cancel := clock.Context(ctx, func() error { return fmt.Errorf("no answer in %s%s", dialTime, clock.Told()) })
	defer cancel()
	conn, err := m.vm.Dial(ctx)
	if err != nil {
		return nil, m.broken(fmt.Errorf("dial: %w", err))
	}
	m.client, err = guest.Connect(ctx, conn)
	if err != nil {
		return nil, m.broken(err)
	}
	return m.client, nil
}

// greeted takes over the line on which the driver has just made the guest
// itself; nil if it has not.
func (m *Machine) greeted() *guest.Client {
	g, err := vm.As[guest.Greeter](m.vm)
	if err != nil {
		return nil
	}
	return g.Greeted()
}

// The heartbeat of a line that is in use. A guest whose agent was killed, or
// whose kernel stands still, says nothing at all.
const (
	beatPause = 3 * time.Second
	beatTime  = 20 * time.Second // translated guests under load are slow
)

// use calls f with the line, and cuts the line if the agent stops answering
// meanwhile.
func (m *Machine) use(ctx context.Context, f func(*guest.Client) error) error {
	c, err := m.line(ctx)
	if err != nil {
		return err
	}
	beats, stop := context.WithCancel(ctx)
	defer stop()
	go m.beat(beats, c)
	return m.fail(ctx, f(c))
}

// beat asks the agent for an answer, again and again until ctx ends. One that
// does not come ends the line.
func (m *Machine) beat(ctx context.Context, c *guest.Client) {
	for {
		select {
		case <-time.After(beatPause):
		case <-ctx.Done():
			return
		}
		ping, cancel := engine.NewClock(m.vm, beatTime).Context(ctx, func() error { return context.DeadlineExceeded })
		err := c.Ping(ping)
		cancel()
		if err != nil && ctx.Err() == nil {
			c.Close()
			return
		}
	}
}

// hangUp ends the line; the next verb dials.
func (m *Machine) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client != nil {
		m.client.Close()
		m.client = nil
	}
}

// fail says what an error of the guest's client means: a dead line is our
// trouble and not the subject's.
func (m *Machine) fail(ctx context.Context, err error) error {
	var line *guest.LineError
	if err == nil || ctx.Err() != nil || !errors.As(err, &line) {
		return err
	}
	if errors.Is(err, net.ErrClosed) {
		err = errors.New("line: the agent stopped answering; it was killed, or its guest hangs")
	}
	return m.broken(fmt.Errorf("lost the %w", err))
}

// broken is an error of the line, with the end of the console. A guest that ends
// its machine, or the agent in it, after commands ran in it was told to: that is
// the subject's doing, and no way out of a grade.
func (m *Machine) broken(err error) error {
	stopped := (*vm.StoppedError)(nil)
	switch {
	case m.ran.Load() && errors.As(err, &stopped):
		return &engine.SubjectError{Err: fmt.Errorf("%s: the machine is gone: %w", m.name, stopped), Detail: m.consoleTail()}
	case m.ran.Load() && errors.Is(err, guest.ErrStarted):
		return &engine.SubjectError{Err: fmt.Errorf("%s: the guest killed assay's agent: %w", m.name, err), Detail: m.consoleTail()}
	}
	return &engine.InfraError{Err: fmt.Errorf("%s: agent: %w", m.name, err), Detail: m.consoleTail()}
}

// tailSize is how much of the console an error carries.
const tailSize = 4 << 10

func (m *Machine) consoleTail() string {
	c, err := vm.As[vm.Consoler](m.vm)
	if err != nil {
		return ""
	}
	text, err := c.Console()
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-tailSize):])
}

// renew makes the guest itself: fresh randomness, the host's clock, and, for a
// new machine, a name, a machine-id and host keys of its own.
func (m *Machine) renew(ctx context.Context, isNew bool) error {
	var b [80]byte
	rand.Read(b[:])
	id := guest.Identity{Entropy: b[:64], Time: time.Now()}
	if isNew {
		id.Hostname, id.MachineID = m.name, hex.EncodeToString(b[64:])
	}
	return m.use(ctx, func(c *guest.Client) error {
		if _, done := c.Told(); done {
			return nil // the driver was first
		}
		return c.Renew(ctx, id)
	})
}

// A GuestPath is a path in a machine, as transfer takes it.
type GuestPath struct {
	machine *Machine
	path    string
}

var guestPathType = &engine.Type{
	Name: "GuestPath",
	Doc:  "A path in a machine. Machine.path makes one.",
	Attrs: []engine.Attr{
		engine.Field("machine", "Machine", "The machine.", func(p *GuestPath) starlark.Value { return p.machine }),
		engine.Field("path", "str", "The path, as it was written.", func(p *GuestPath) starlark.Value { return starlark.String(p.path) }),
	},
}

func newGuestPath(m *Machine, p string) (starlark.Value, error) {
	if !path.IsAbs(p) && p != "~" && !strings.HasPrefix(p, "~/") {
		return nil, engine.Scriptf("for parameter path: got %q, want a path that begins with / or ~/", p)
	}
	return &GuestPath{m, p}, nil
}

// String returns MACHINE:PATH.
func (p *GuestPath) String() string { return p.machine.name + ":" + p.path }

// Type returns "GuestPath".
func (p *GuestPath) Type() string { return "GuestPath" }

// Freeze does nothing: a path never changes.
func (p *GuestPath) Freeze() {}

// Truth returns True.
func (p *GuestPath) Truth() starlark.Bool { return true }

// Hash makes paths usable as keys.
func (p *GuestPath) Hash() (uint32, error) { return starlark.String(p.String()).Hash() }

// Attr implements starlark.HasAttrs.
func (p *GuestPath) Attr(name string) (starlark.Value, error) { return guestPathType.Attr(p, name) }

// AttrNames implements starlark.HasAttrs.
func (p *GuestPath) AttrNames() []string { return guestPathType.AttrNames() }
