package virtualbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay/drivers/standin"
)

// ps lists the processes of the machines that run.
func (b *box) ps(c *standin.Call) int {
	for i, g := range b.host.Guests() {
		if g.Running() {
			c.Printf("%7d 51200 00:00:05 /usr/lib/virtualbox/VBoxHeadless --comment %s --startvm %s --vrde config\n", 4000+i, g.Name(), get[string](g, "uuid"))
		}
	}
	return 0
}

// start switches a machine on, or lets it run on from its saved memory.
func (b *box) start(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	if strings.Join(args[1:], " ") != "--type headless" {
		b.t.Errorf("startvm %q is not played", args)
	}
	c.Printf("Waiting for VM %q to power on...\n", args[0])
	if s := vmState(g); s != "saved" && s != "poweroff" {
		return c.Fail(1, "VBoxManage: error: The machine '%s' is already locked by a session (or being locked or unlocked)\nVBoxManage: error: Details: code VBOX_E_INVALID_OBJECT_STATE (0x80bb0007), component MachineWrap, interface IMachine, callee nsISupports", g.Name())
	}
	run := g.Start
	if get[bool](g, "saved") {
		run = g.Resume
	}
	if err := run(); err != nil {
		return c.Fail(1, "VBoxManage: error: %v", err)
	}
	set(g, "saved", false)
	if err := b.connect(g); err != nil {
		return c.Fail(1, "VBoxManage: error: NamedPipe#1 failed to create socket: %v (VERR_PDM_DRVINS_...)", err)
	}
	c.Printf("VM %q has been successfully started.\n", args[0])
	if b.host.Broken() == "sulky" {
		return 1 // seen: the exit code of a start that worked
	}
	return 0
}

// connect gives the serial ports of a machine that has started to the host: the
// first writes the console's file anew, the second is a socket.
func (b *box) connect(g *standin.Guest) error {
	text := g.Console()
	switch b.host.Broken() {
	case "panic":
		text = append(text, "Kernel panic - not syncing: VFS: Unable to mount root fs\n"...)
	case "quits":
		text, _ = []byte("reboot: Power down\n"), g.Kill()
	}
	if mode := get[[]string](g, "--uartmode1"); mode != nil {
		if err := os.WriteFile(mode[1], text, 0o600); err != nil {
			return err
		}
	}
	mode := get[[]string](g, "--uartmode2")
	if mode == nil || mode[0] != "server" || b.host.Broken() == "panic" || b.host.Broken() == "quits" {
		return nil
	}
	if args, ok := g.Listens(); ok && args != "port /dev/ttyS1" {
		b.t.Errorf("the agent listens on %q, and the second serial port is /dev/ttyS1", args)
	}
	return g.Listen(mode[1])
}

func (b *box) control(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	if s := vmState(g); s == "poweroff" || s == "saved" {
		return c.Fail(1, "VBoxManage: error: Machine '%s' is not currently running.", args[0])
	}
	var err error
	switch verb := args[1]; {
	case verb == "poweroff":
		c.Fail(0, "%s", progressBar)
		err = g.Kill()
	case verb == "acpipowerbutton":
		err = g.Shutdown()
	case verb == "pause" && !g.Paused():
		err = g.Pause()
	case verb == "resume" && g.Paused():
		err = g.Resume()
	case verb == "setlinkstate1" && len(args) == 3:
		g.SetLink(args[2] == "on")
	case verb == "screenshotpng" && len(args) == 3:
		err = os.WriteFile(args[2], g.Screenshot(), 0o600)
	default:
		return c.Fail(1, "VBoxManage: error: Invalid machine state: %s\nVBoxManage: error: Details: code VBOX_E_INVALID_VM_STATE (0x80bb0002), component ConsoleWrap, interface IConsole, callee nsISupports", vmState(g))
	}
	if err != nil {
		return c.Fail(1, "VBoxManage: error: %v", err)
	}
	return 0
}

func (b *box) snapshot(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	switch verb := args[1]; verb {
	case "take":
		return b.takeSnapshot(c, g, args[2:])
	case "list":
		return b.listSnapshots(c, g)
	case "restore":
		return b.restore(c, g, args[2])
	case "delete":
		if err := g.DeleteSnapshot(args[2]); err != nil {
			b.t.Errorf("snapshot delete: %v", err)
		}
		return c.Printf("Deleting snapshot 's1' (%s)\n", args[2])
	default:
		b.t.Errorf("snapshot %q is not played", args)
		return 1
	}
}

func (b *box) takeSnapshot(c *standin.Call, g *standin.Guest, args []string) int {
	b.options("snapshot take", args[1:], map[string]int{"--description": 1})
	if b.host.Broken() == "standing" {
		g.Pause()
		return c.Fail(1, "0%%...\nVBoxManage: error: Could not take a snapshot\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component ConsoleWrap, interface IConsole")
	}
	id := b.uuid()
	if err := g.Snapshot(id, true); err != nil {
		return c.Fail(1, "VBoxManage: error: %v", err)
	}
	c.Fail(0, "%s", progressBar)
	return c.Printf("Snapshot taken. UUID: %s\n", id)
}

// listSnapshots lists them all as a line of descent, which they are unless one was
// restored.
func (b *box) listSnapshots(c *standin.Call, g *standin.Guest) int {
	if len(g.Snapshots()) == 0 {
		return c.Printf("This machine does not have any snapshots\n") + 1
	}
	node := ""
	for i, s := range g.Snapshots() {
		c.Printf("SnapshotName%s=\"s%d\"\nSnapshotUUID%s=%q\n", node, i+1, node, s.Name)
		node += "-1"
	}
	return 0
}

func (b *box) restore(c *standin.Call, g *standin.Guest, id string) int {
	if s := vmState(g); s == "running" || s == "paused" {
		return c.Fail(1, "VBoxManage: error: Cannot delete the current state of the running machine (machine state: Running)\nVBoxManage: error: Details: code VBOX_E_INVALID_VM_STATE (0x80bb0002), component SessionMachine, interface IMachine, callee nsISupports")
	}
	if err := g.Restore(id); err != nil {
		return c.Fail(1, "VBoxManage: error: Could not find a snapshot named '%s'\nVBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component SessionMachine, interface IMachine, callee nsISupports", id)
	}
	b.save(g)
	c.Fail(0, "%s", progressBar)
	return c.Printf("Restoring snapshot 's1' (%s)\n", id)
}

// save makes a guest that runs on from its memory one that would, if it were
// started.
func (b *box) save(g *standin.Guest) {
	if g.Running() {
		g.Pause()
		set(g, "saved", true)
	}
}

func (b *box) clone(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	o := b.options("clonevm", args[1:], map[string]int{"--name": 1, "--register": 0, "--snapshot": 1, "--options": 1, "--basefolder": 1})
	name, id := o["--name"][0], o["--snapshot"][0]
	if o["--options"][0] != "link" || o["--register"] == nil {
		b.t.Errorf("clonevm %q is not played", args)
	}
	twin, err := g.Twin(name, id)
	if err != nil {
		return c.Fail(1, "VBoxManage: error: Machine settings file '%s' already exists\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004)", name)
	}
	folder := filepath.Join(o["--basefolder"][0], name)
	if code := b.register(&standin.Call{Stdout: c.Stderr, Stderr: c.Stderr}, twin, filepath.Join(folder, name+".vbox")); code != 0 {
		return code
	}
	if err := twin.Restore(id); err != nil {
		b.t.Errorf("clonevm: %v", err)
	}
	b.save(twin)
	b.layer(g, twin, folder)
	c.Fail(0, "%s", progressBar)
	return c.Printf("Machine has been successfully cloned as \"%s\"\n", name)
}

// layer gives a linked clone a disk that lies on its parent's.
func (b *box) layer(parent, child *standin.Guest, folder string) {
	path := filepath.Join(folder, "Snapshots", "{"+b.uuid()+"}.vdi")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.t.Error(err)
	}
	b.open(path, "disk", get[string](parent, "disk"), child.Name())
	set(child, "disk", path)
}

// guestControl runs a command in a guest that has Guest Additions, or copies a
// file into it.
func (b *box) guestControl(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	if s := vmState(g); s != "running" {
		return c.Fail(1, "VBoxManage: error: Machine \"%s\" is not running (currently powered off)!", args[0])
	}
	if b.host.Broken() == "tools" {
		b.refuse()
		return c.Fail(1, "VBoxManage: error: The guest execution service is not ready (yet)\nVBoxManage: error: Details: code VBOX_E_IPRT_ERROR (0x80bb0005), component GuestSessionWrap, interface IGuestSession, callee nsISupports")
	}
	verb, rest, argv := args[1], args[2:], []string(nil)
	if i := slices.Index(rest, "--"); i >= 0 {
		rest, argv = rest[:i], rest[i+1:]
	}
	o := b.options("guestcontrol "+verb, rest[:min(len(rest), 6)], map[string]int{"--username": 1, "--passwordfile": 1, "--wait-stdout": 0, "--wait-stderr": 0, "--target-directory": 1})
	user := o["--username"][0]
	password, err := os.ReadFile(o["--passwordfile"][0])
	if want := get[string](g, "password"); err != nil || want == "" || string(password) != want {
		b.refuse()
		return c.Fail(1, "VBoxManage: error: The specified user was not able to logon on guest\nVBoxManage: error: Details: code VBOX_E_IPRT_ERROR (0x80bb0005), component GuestSessionWrap, interface IGuestSession, callee nsISupports")
	}
	b.mu.Unlock()
	defer b.mu.Lock()
	switch verb {
	case "copyto":
		from := rest[len(rest)-1]
		data, err := os.ReadFile(from)
		if err == nil {
			err = g.Write(filepath.Join(o["--target-directory"][0], filepath.Base(from)), data, 0o644)
		}
		if err != nil {
			return c.Fail(1, "VBoxManage: error: %v", err)
		}
		return 0
	case "run":
		quiet := *c
		quiet.Stdin = strings.NewReader("") // none is passed on
		switch code := g.Exec(&quiet, argv, standin.ExecOptions{User: user}); {
		case code == 0:
			return 0
		case code < 94:
			return code + 32
		}
		return 126
	}
	b.t.Errorf("guestcontrol %s is not played", verb)
	return 2
}

// refuse counts how often nobody was let in.
func (b *box) refuse() {
	if b.refused++; b.refused == 3 && b.enough != nil {
		b.enough()
	}
}
