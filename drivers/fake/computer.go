package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"assay/capture"
	"assay/guest"
	"assay/vm"
)

// Hardware is what a computer is made of.
type Hardware struct {
	Image    vm.Image // its name says what the disk looks like: debian-12
	Hostname string   // default: as the image has it
	CPUs     int
	Memory   int64 // bytes
	Disk     int64 // bytes

	// Agent is the content of the file that is assay's agent. A file with these
	// bytes runs as the agent does, wherever it lies; without it nothing does.
	Agent []byte
	// Seed holds the files of the seed disk in the drive, by name. At each boot a
	// made-up cloud-init does what they say.
	Seed map[string][]byte
}

// Errors of a computer.
var (
	ErrOff = errors.New("the computer is off")
	ErrOn  = errors.New("the computer is on")
)

// A Computer is a fake guest without a driver: it is made switched off, as a
// fresh cloud image, and whoever pretends to be its hypervisor switches it. Its
// methods are safe for concurrent use.
type Computer struct {
	hw Hardware

	flushed struct { // what a power cut leaves of the disk
		sync.Mutex
		disk *disk
	}

	mu      sync.Mutex
	system  *system // while it is off only the disk counts
	on      bool
	off     context.CancelFunc // cuts the power
	console []byte
	paused  bool
	resumed chan struct{} // closed when not paused
	link    bool          // the network cable is plugged in
}

// NewComputer returns a computer that is off.
func NewComputer(hw Hardware) (*Computer, error) {
	spec := vm.Spec{Image: hw.Image, CPUs: hw.CPUs, Memory: hw.Memory, Disk: hw.Disk}
	g, err := bootSystem(spec, noPower())
	if err != nil {
		return nil, err
	}
	g.agent, g.procs = hw.Agent, newProcesses()
	if hw.Hostname != "" {
		err = g.put("/etc/hostname", hw.Hostname+"\n", 0o644)
	}
	resumed := make(chan struct{})
	close(resumed)
	return &Computer{hw: hw, system: g, off: func() {}, resumed: resumed, link: true}, errors.Join(err, g.unfurnish())
}

// noPower is the life of a system that is off.
func noPower() context.Context {
	dead, cut := context.WithCancel(context.Background())
	cut()
	return dead
}

// unfurnish takes out what assay's own images have beyond a cloud image, and adds
// what they lack.
func (g *system) unfurnish() error {
	return errors.Join(g.disk.mkdirAll("/etc/systemd/system", 0o755, 0), g.deleteUser("tester"), g.disk.remove("/etc/sudoers.d/tester", false, 0), g.disk.remove("/usr/share/assay", true, 0))
}

// On boots the computer. What was in memory, /run and /tmp is gone.
func (c *Computer) On() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on {
		return ErrOn
	}
	power := c.powerOn(c.system)
	c.flush(c.system)
	c.print("Linux version " + kernel + "\nWelcome to " + c.system.os.Name + "!\n")
	if err := c.system.start(power); err != nil {
		c.powerOff()
		return err
	}
	c.print(c.system.hostname() + " login: ")
	return nil
}

// powerOn makes g the system that runs. The caller holds the lock.
func (c *Computer) powerOn(g *system) context.Context {
	power, off := context.WithCancel(context.Background())
	c.system = g.clone(power) // what still runs in the old one cannot touch it
	c.system.computer, c.system.seedFiles = c, c.hw.Seed
	c.on, c.off = true, off
	return power
}

// powerOff ends whatever runs. The caller holds the lock.
func (c *Computer) powerOff() {
	c.system.procs.kill("SIGKILL", func(*process) bool { return true })
	c.off()
	c.on = false
	c.resume()
}

// start does what a kernel and its init do.
func (g *system) start(power context.Context) error {
	g.procs, g.booted, g.service = newProcesses(), time.Now(), nil
	for _, volatile := range []string{"/run", "/tmp"} {
		if err := errors.Join(g.disk.remove(volatile, true, 0), g.disk.mkdir(volatile, 0o755, 0)); err != nil {
			return err
		}
	}
	err := errors.Join(g.disk.chmod("/tmp", fs.ModeSticky|0o777, 0),
		g.put("/proc/sys/kernel/random/boot_id", fmt.Sprintf("%x\n", g.random(16)), 0o444),
		g.startProcesses(power))
	if err == nil {
		err = g.startUnits()
	}
	if err == nil {
		err = g.cloudInit(power)
	}
	return err
}

// Off cuts the power: what the guest did not flush is lost. It is idempotent.
func (c *Computer) Off() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on {
		c.powerOff()
		g := c.system.clone(noPower()) // others still look at the old one
		g.disk = c.flushedDisk()
		c.system = g
	}
}

// Shutdown lets the guest flush its disk and switch itself off. It is idempotent.
func (c *Computer) Shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powerOff()
}

// flush brings what was written in g to the disk.
func (c *Computer) flush(g *system) {
	c.flushed.Lock()
	defer c.flushed.Unlock()
	c.flushed.disk = g.disk.clone()
}

// Flush brings what was written to the disk, from outside.
func (c *Computer) Flush() { c.flush(c.disk()) }

// flushedDisk is what a power cut would leave now.
func (c *Computer) flushedDisk() *disk {
	c.flushed.Lock()
	defer c.flushed.Unlock()
	return c.flushed.disk.clone()
}

// Running reports whether the power is on.
func (c *Computer) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on
}

// Pause makes a running computer stand still: no line gets through, and what is
// to be run waits.
func (c *Computer) Pause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return ErrOff
	}
	if !c.paused {
		c.paused, c.resumed = true, make(chan struct{})
	}
	return nil
}

// Resume lets it go on. It is idempotent.
func (c *Computer) Resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return ErrOff
	}
	c.resume()
	return nil
}

func (c *Computer) resume() {
	if c.paused {
		c.paused = false
		close(c.resumed)
	}
}

// Paused reports whether it stands still.
func (c *Computer) Paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// Console returns everything that it printed, at most the last MiB.
func (c *Computer) Console() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.console)
}

// print adds to the console. The caller holds the lock.
func (c *Computer) print(text string) {
	c.console = append(c.console, text...)
	c.console = c.console[max(0, len(c.console)-maxConsole):]
}

// A State is what a snapshot of a computer holds. It never changes.
type State struct {
	system *system
	memory bool
}

// Memory reports whether the state has the memory too.
func (s *State) Memory() bool { return s.memory }

// Save copies the disk, as far as it is flushed, or, if memory is asked for and the
// computer is on, all of it and what runs.
func (c *Computer) Save(memory bool) *State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &State{system: c.system.clone(noPower()), memory: memory && c.on}
	if c.on && !memory {
		s.system.disk = c.flushedDisk()
	}
	return s
}

// Load makes the computer what it was: it runs if the state has its memory, and
// is off otherwise. What ran before is cut.
func (c *Computer) Load(s *State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powerOff()
	c.system = s.system.clone(noPower())
	if s.memory {
		c.powerOn(s.system)
		c.flush(c.system)
	}
}

// Copy returns another computer, switched off, with the state's disk.
func (c *Computer) Copy(s *State) *Computer {
	resumed := make(chan struct{})
	close(resumed)
	return &Computer{hw: c.hw, system: s.system.clone(noPower()), off: func() {}, resumed: resumed, link: true}
}

// running waits until the computer is not paused, and returns its system.
func (c *Computer) running(ctx context.Context) (*system, error) {
	for {
		c.mu.Lock()
		g, on, paused, resumed := c.system, c.on, c.paused, c.resumed
		c.mu.Unlock()
		switch {
		case !on:
			return nil, ErrOff
		case !paused:
			return g, nil
		}
		select {
		case <-resumed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Exec runs a command, as the agent would. A computer that is off is ErrOff; one
// whose power is cut meanwhile ends the command by SIGKILL.
func (c *Computer) Exec(ctx context.Context, cmd guest.Command, st guest.Streams) (guest.Exit, error) {
	g, err := c.running(ctx)
	if err != nil {
		return guest.Exit{}, err
	}
	return g.Exec(ctx, cmd, st)
}

// Listens returns the arguments of the agent's service ("port /dev/ttyS1"; none
// for its virtio port), and whether it runs.
func (c *Computer) Listens() (args []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return nil, false
	}
	return c.system.listens()
}

// Serve is the other end of the channel that the agent's service listens on. It
// answers on conn, as soon as the service runs, until conn, the power or ctx
// ends; then it closes conn.
func (c *Computer) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	defer conn.Close()
	for {
		if _, ok := c.Listens(); ok {
			break
		}
		if !c.Running() {
			return ErrOff
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
	g, err := c.running(ctx)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.life, cancel)()
	return g.serve(inner, conn)
}

// serve is the agent.
func (g *system) serve(ctx context.Context, conn io.ReadWriteCloser) error {
	s := &guest.Server{System: g, Handlers: map[string]guest.Handler{capture.Method: fault("").look(g)}}
	return s.Serve(ctx, &gated{conn, g.computer})
}

// gated passes nothing to the guest while the computer is paused.
type gated struct {
	io.ReadWriteCloser
	c *Computer
}

func (r *gated) Read(p []byte) (int, error) {
	n, err := r.ReadWriteCloser.Read(p)
	if _, gone := r.c.running(context.Background()); gone != nil {
		return 0, io.EOF
	}
	return n, err
}

// Write puts a file of root's onto the disk, whether the computer is on or off.
func (c *Computer) Write(p string, data []byte, mode fs.FileMode) error {
	g := c.disk()
	if err := g.put(p, string(data), mode); err != nil {
		return err
	}
	return g.disk.chmod(p, mode, 0)
}

// Read reads a file of the disk.
func (c *Computer) Read(p string) ([]byte, error) { return c.disk().disk.read(p, 0) }

func (c *Computer) disk() *system {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.system
}

// AddUser adds a login user with a home; admin: one who may sudo.
func (c *Computer) AddUser(name string, admin bool) error {
	g := c.disk()
	if err := g.addUser(name, 0, "/bin/bash"); err != nil || !admin {
		return err
	}
	return g.put("/etc/sudoers.d/90-"+name, name+" ALL=(ALL) NOPASSWD:ALL\n", 0o440)
}

// Login reports whether a user has that password. A user without one has none
// that fits.
func (c *Computer) Login(name, password string) bool { return c.disk().mayLogin(name, password) }

// Insert puts a seed disk into the drive, nil takes it out. The next boot sees it.
func (c *Computer) Insert(files map[string][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hw.Seed = files
	c.system.seedFiles = files
}

// SetLink plugs the network cable in or pulls it out; the console tells.
func (c *Computer) SetLink(up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != up {
		c.link = up
		c.print("eth0: link " + map[bool]string{true: "up", false: "down"}[up] + "\n")
	}
}

// Link reports whether the cable is plugged in.
func (c *Computer) Link() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Processes lists the commands that run, for those who look from outside.
func (c *Computer) Processes() []string {
	var commands []string
	for _, p := range c.disk().procs.list(0) {
		commands = append(commands, strings.TrimSpace(p.Command))
	}
	return commands
}

// Used returns how many bytes of files the disk holds.
func (c *Computer) Used() int64 {
	d := c.disk().disk
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Power returns a context that ends when the power is cut that is on now. That
// of a computer that is off has ended.
func (c *Computer) Power() context.Context { return c.disk().life }
