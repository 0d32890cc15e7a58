package builtins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/capture"
	"assay/engine"
	"assay/guest"
	"assay/images"
	"assay/vm"
)

type launchArgs struct {
	Image   bootSource  `star:"image?,pos" help:"name of an image, or a Snapshot to fork; default: the image that the test runs on"`
	Name    string      `star:"name?" help:"the machine's name and hostname; a-z, 0-9 and -"`
	CPUs    processors  `star:"cpus?" help:"number of processors; default: 1"`
	Memory  engine.Size `star:"memory?" help:"memory; default: 512M"`
	Disk    engine.Size `star:"disk?" help:"size of the disk; default: as large as the image"`
	Network network     `star:"network?" help:"what the machine may reach: \"none\", \"open\" or allow(HOST…); default: none"`
	Driver  string      `star:"driver?" help:"driver to use; default: the one that the test runs on"`
	Cold    bool        `star:"cold?" help:"boot, even if a booted template could be cloned"`
	Fit     bool        `star:"fit?" help:"take less where the host has not as much as asked for"`

	Existing lentName `star:"existing?" help:"the driver's name of a machine that you made: it is used instead of a new one, and left as it was"`
	Undo     bool     `star:"undo?" help:"with existing: take back what the test wrote when it ends, if the driver has snapshots"`
}

// The machine that a script gets which asks for nothing.
const (
	defaultCPUs   = 1
	defaultMemory = 512 << 20

	leastMemory = 64 << 20  // no driver takes less
	fairMemory  = 256 << 20 // with less many guests do not come up
)

var launch = engine.Func("launch", "Machine",
	"Makes a machine from an image, or forks one from a snapshot, and returns it when its agent answers.\n"+
		"It waits until the host has room for the machine, which lives until the test ends.",
	launchArgs{Undo: true}, runLaunch).Needing(
	engine.Need{Ability: string(vm.CapFork), Param: "image", Type: "Snapshot"},
	engine.Need{Ability: engine.Existing, Param: "existing", NoImage: true})

func runLaunch(ctx context.Context, s *engine.Session, a launchArgs) (starlark.Value, error) {
	if a.Memory != 0 && a.Memory < leastMemory {
		return nil, engine.Scriptf("launch: for parameter memory: got %q, want at least %q", a.Memory, engine.Size(leastMemory))
	}
	began := time.Now()
	m, err := a.boot(ctx, s)
	if err != nil {
		return nil, err
	}
	s.OnClose(m.hangUp)
	if path := m.image.Manifest; path != "" {
		go readManifest(path) // the first capture wants it
	}
	if err := m.greet(ctx); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	m.record.Boot = float64(time.Since(began).Milliseconds()) / 1000
	s.AddMachine(m.record)
	s.Describe(m.image.Name+" as "+m.name, m.vm.ID())
	return m, m.serve(s)
}

// boot launches or forks the machine.
func (a launchArgs) boot(ctx context.Context, s *engine.Session) (*Machine, error) {
	switch {
	case a.Existing != "":
		return a.adopt(ctx, s)
	case a.Image.snapshot != nil:
		return a.fork(ctx, s)
	}
	name := cmp.Or(a.Image.name, s.Image())
	driver := cmp.Or(a.Driver, s.Driver())
	s.Describe(name, "")
	if a.Driver != "" {
		if err := s.Usable(ctx, driver); err != nil {
			return nil, fmt.Errorf("launch: %w", err) // before its image is missed
		}
	}
	img, err := s.Resolve(ctx, driver, name)
	if missing := (*images.NotFoundError)(nil); errors.As(err, &missing) && missing.Next == "" {
		return nil, engine.Scriptf("launch: for parameter image: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	if a.Disk != 0 && int64(a.Disk) < img.Size {
		return nil, engine.Scriptf("launch: for parameter disk: got %q, want at least %q, the size of image %s", a.Disk, engine.Size(img.Size), img.Name)
	}
	spec := vm.Spec{Name: a.Name, Image: img, CPUs: int(a.CPUs), Memory: int64(a.Memory), Disk: int64(a.Disk),
		Network: vm.Network(a.Network), Cold: a.Cold}
	if spec.CPUs == 0 {
		spec.CPUs = defaultCPUs
	}
	if spec.Memory == 0 {
		spec.Memory = defaultMemory
	}
	m, spec, err := s.Launch(ctx, driver, spec, a.Fit)
	if err != nil {
		return nil, starved(spec.Memory, err)
	}
	return newMachine(s, m, driver, spec), nil
}

// starved adds to the error of a guest that did not come up, or ended at once, that
// it had little memory: guests rarely say so.
func starved(memory int64, err error) error {
	var boot *vm.BootError
	var stopped *vm.StoppedError
	if memory >= fairMemory || !errors.As(err, &boot) && !errors.As(err, &stopped) {
		return err
	}
	return fmt.Errorf("%w; it had %s of memory: many guests need more, as by launch(memory = %q)", err, engine.Size(memory), engine.Size(defaultMemory))
}

// fork makes a twin of a saved machine. What the twin is, the snapshot says.
func (a launchArgs) fork(ctx context.Context, s *engine.Session) (*Machine, error) {
	snap := a.Image.snapshot
	if a.shapes() || a.Driver != "" {
		return nil, engine.Scriptf("launch: for parameter image: got a snapshot and other parameters, want no other than name; a fork is like its parent")
	}
	s.Describe(snap.String(), snap.machine.vm.ID())
	p := snap.machine
	if err := p.need(s, "launch", vm.CapFork); err != nil {
		return nil, err
	}
	spec := vm.Spec{Name: a.Name, Image: p.image, CPUs: p.record.CPUs, Memory: p.record.Memory, Disk: p.record.Disk}
	m, spec, err := s.Fork(ctx, p.record.Driver, p.vm, snap.name, spec)
	if err != nil {
		return nil, err
	}
	fork := newMachine(s, m, p.record.Driver, spec)
	fork.host = p.host
	fork.record.Parent, fork.record.Network = snap.String(), p.record.Network
	return fork, nil
}

// shapes reports whether a parameter is given that says what to make.
func (a launchArgs) shapes() bool {
	return a.CPUs != 0 || a.Memory != 0 || a.Disk != 0 || a.Network.Mode != "" || a.Cold || a.Fit
}

// adopt takes a machine that somebody else made. Its noise is its own: its image,
// if it ever had one, is not known here.
func (a launchArgs) adopt(ctx context.Context, s *engine.Session) (*Machine, error) {
	if a.shapes() || a.Image.name != "" || a.Image.snapshot != nil {
		return nil, engine.Scriptf("launch: for parameter existing: got other parameters too, want no other than name, driver and undo; the machine is what it is")
	}
	driver, name := cmp.Or(a.Driver, s.Driver()), string(a.Existing)
	s.Describe(name, "")
	spec := vm.Spec{Name: a.Name, Image: vm.Image{Name: engine.Existing + "/" + name, Digest: engine.Existing + ":" + driver + ":" + name}}
	m, spec, err := s.Adopt(ctx, driver, name, spec, a.Undo)
	if err != nil {
		return nil, err
	}
	found := newMachine(s, m, driver, spec)
	found.adopted, found.record.Network = true, ""
	return found, nil
}

func newMachine(s *engine.Session, m vm.Machine, driver string, spec vm.Spec) *Machine {
	net := spec.Network.Mode
	if net == "" {
		net = vm.NetworkNone
	}
	return &Machine{vm: m, session: s, name: spec.Name, image: spec.Image, host: capture.NewHost(), record: assay.Machine{
		ID: m.ID(), Image: spec.Image.Name, Digest: spec.Image.Digest, Driver: driver, Accel: s.Accel(driver),
		CPUs: spec.CPUs, Memory: spec.Memory, Disk: max(spec.Disk, spec.Image.Size), Network: string(net)}}
}

// greet learns what the new guest is, and gives it its identity, unless the
// driver has: then it bears its name already. A machine that somebody else made
// keeps its own.
func (m *Machine) greet(ctx context.Context) error {
	err := m.use(ctx, func(c *guest.Client) (err error) {
		var told bool
		if m.info, told = c.Told(); !told {
			m.info, err = c.Info(ctx)
		}
		return err
	})
	m.record.OS = m.info.OS
	if m.adopted {
		m.record.CPUs, m.record.Memory = m.info.CPUs, m.info.Memory // nobody else says
	}
	if err != nil || m.adopted || m.info.Hostname == m.name {
		return err
	}
	return m.renew(ctx, true)
}

// A bootSource is what launch takes: an image's name, or a snapshot.
type bootSource struct {
	name     string
	snapshot *Snapshot
}

// StarType implements engine.StarType.
func (bootSource) StarType() string { return "str | Snapshot" }

// Unpack implements starlark.Unpacker.
func (b *bootSource) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.String:
		b.name = string(v)
	case *Snapshot:
		b.snapshot = v
	default:
		return fmt.Errorf("got %s, want name of an image, or Snapshot", v.Type())
	}
	return nil
}

// processors is how many a script asks for; 0 if it does not.
type processors int

// StarType implements engine.StarType.
func (processors) StarType() string { return "int" }

// Unpack implements starlark.Unpacker.
func (p *processors) Unpack(v starlark.Value) error {
	var n int
	if err := starlark.AsInt(v, &n); err != nil {
		return fmt.Errorf("got %s, want int", v.Type())
	}
	if n < 1 {
		return fmt.Errorf("got %d, want at least 1", n)
	}
	*p = processors(n)
	return nil
}

// A lentName is what a driver calls a machine that somebody else made.
type lentName string

// StarType implements engine.StarType.
func (lentName) StarType() string { return "str" }

// Unpack implements starlark.Unpacker. A name that is empty, as a parameter that
// nobody gave, is no wish for a new machine, and one that begins with a dash would
// be an option to the hypervisor's command.
func (l *lentName) Unpack(v starlark.Value) error {
	s, ok := starlark.AsString(v)
	switch {
	case !ok:
		return fmt.Errorf("got %s, want str", v.Type())
	case s == "":
		return errors.New(`got "", want the name of a machine; launch() without existing makes a new one`)
	case s[0] == '-':
		return fmt.Errorf("got %q, want a name that begins with no dash", s)
	}
	*l = lentName(s)
	return nil
}
