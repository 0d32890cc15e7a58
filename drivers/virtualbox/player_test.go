package virtualbox

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"assay/drivers/standin"
)

// A box is a stand-in for VirtualBox: it knows machines, disks and snapshots, and
// answers VBoxManage in the words that 7.2.22 was recorded with. What that one was
// never asked to do (anything with a running machine) is from its sources.
type box struct {
	t    *testing.T
	host *standin.Host

	mu    sync.Mutex
	media map[string]*medium // by path
	count int                // of UUIDs

	refused int    // times that the guest's tools let nobody in
	enough  func() // called when a call hangs, and at the third refusal
}

// A medium is a disk that VirtualBox has open.
type medium struct{ id, parent, owner, kind string }

// newBox installs VBoxManage, and the ps by which the host is asked what a
// machine's process costs.
func newBox(t *testing.T) *box {
	b := &box{t: t, media: map[string]*medium{}}
	b.host = standin.New(t, "VBoxManage", b.play)
	b.host.Tool("ps", b.ps)
	return b
}

// verbs are what the stand-in can do, by the first word.
var verbs = map[string]func(*box, *standin.Call, []string) int{
	"--version": (*box).version, "list": (*box).list, "showvminfo": (*box).showInfo, "createvm": (*box).create,
	"modifyvm": (*box).modify, "createmedium": (*box).createMedium, "modifymedium": (*box).modifyMedium,
	"closemedium": (*box).closeMedium, "convertfromraw": (*box).convert, "storagectl": (*box).storageController,
	"storageattach": (*box).attach, "startvm": (*box).start, "controlvm": (*box).control, "snapshot": (*box).snapshot,
	"clonevm": (*box).clone, "unregistervm": (*box).unregister, "guestcontrol": (*box).guestControl,
}

// play answers one call.
func (b *box) play(c *standin.Call) int {
	if len(c.Args) == 0 {
		return c.Printf("Usage - Oracle VirtualBox command-line interface:\n") + 1
	}
	if code, broken := b.broken(c); broken {
		return code
	}
	verb := verbs[c.Args[0]]
	if verb == nil {
		b.t.Errorf("VBoxManage has no command %q", c.Args[0])
		return c.Fail(2, "VBoxManage: error: Invalid command '%s'", c.Args[0])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return verb(b, c, c.Args[1:])
}

// broken answers for a host that is out of order.
func (b *box) broken(c *standin.Call) (int, bool) {
	verb := c.Args[0]
	switch mode := b.host.Broken(); {
	case mode == "daemon":
		return c.Fail(1, "VBoxManage: error: Failed to create the VirtualBox object!\nVBoxManage: error: Code NS_ERROR_SOCKET_FAIL (0xC1F30200) - IPC daemon socket error (extended info not available)\nVBoxManage: error: Most likely, the VirtualBox COM server is not running or failed to start."), true
	case mode == "module" && verb == "startvm":
		c.Printf("Waiting for VM \"%s\" to power on...\n", c.Args[1])
		return c.Fail(1, "VBoxManage: error: The virtual machine '%s' has terminated unexpectedly during startup with exit code 1 (0x1)\nVBoxManage: error: Details: code NS_ERROR_FAILURE (0x80004005), component MachineWrap, interface IMachine", c.Args[1]), true
	case mode == "virtual" && verb == "startvm":
		return c.Fail(1, "VBoxManage: error: VT-x is not available (VERR_VMX_NO_VMX)\nVBoxManage: error: Details: code NS_ERROR_FAILURE (0x80004005), component ConsoleWrap, interface IConsole"), true
	case mode == "full" && verb == "createmedium":
		return c.Fail(1, "0%%...VBOX_E_FILE_ERROR\nVBoxManage: error: Failed to create medium\nVBoxManage: error: Could not create the medium storage unit '%s'.\nVBoxManage: error: VDI: disk full, cannot create image (VERR_DISK_FULL)\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component MediumWrap, interface IMedium", c.Args[3]), true
	case mode == "lying" && verb == "modifyvm":
		return c.Fail(0, "VBoxManage: error: Invalid RAM size: 1 MB (must be in range [4, 2097152] MB)\nVBoxManage: error: Details: code NS_ERROR_INVALID_ARG (0x80070057), component SessionMachine, interface IMachine, callee nsISupports"), true
	case mode == "hang" && verb == "startvm":
		b.enough()
		return c.Hang(), true
	}
	return 0, false
}

// notFound is what every verb says of a machine that is not there.
func (b *box) notFound(c *standin.Call, id string) int {
	if b.host.Broken() == "german" {
		return c.Fail(1, "VBoxManage: error: Konnte keine registrierte Maschine namens '%s' finden\nVBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap, interface IVirtualBox, callee nsISupports", id)
	}
	return c.Fail(1, "VBoxManage: error: Could not find a registered machine named '%s'\nVBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap, interface IVirtualBox, callee nsISupports\nVBoxManage: error: Context: \"FindMachine(Bstr(VMNameOrUuid).raw(), machine.asOutParam())\" at line 3248 of file VBoxManageInfo.cpp", id)
}

const progressBar = "0%...10%...20%...30%...40%...50%...60%...70%...80%...90%...100%"

// uuid makes one up.
func (b *box) uuid() string {
	b.count++
	h := sha256.Sum256([]byte(strconv.Itoa(b.count)))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// find returns a machine by its name or id.
func (b *box) find(id string) *standin.Guest {
	for _, g := range b.host.Guests() {
		if g.Name() == id || get[string](g, "uuid") == id {
			return g
		}
	}
	return nil
}

// get returns a player's own value of a guest's, or its zero.
func get[T any](g *standin.Guest, key string) T {
	g.Lock()
	defer g.Unlock()
	v, _ := g.Attr[key].(T)
	return v
}

func set(g *standin.Guest, key string, v any) {
	g.Lock()
	defer g.Unlock()
	g.Attr[key] = v
}

// options reads "--key value" pairs; those that are not known are an error of the
// driver's. The counts say how many words follow a key.
func (b *box) options(verb string, args []string, counts map[string]int) map[string][]string {
	all := map[string][]string{}
	for i := 0; i < len(args); i++ {
		key, value, joined := strings.Cut(args[i], "=")
		n, known := counts[key]
		switch {
		case !known || !joined && i+n >= len(args):
			b.t.Errorf("VBoxManage %s: unknown option: %s", verb, args[i])
			return all
		case joined:
			all[key] = []string{value}
		default:
			all[key] = args[i+1 : i+1+n]
			i += n
		}
	}
	return all
}

func (b *box) version(c *standin.Call, _ []string) int { return c.Printf("7.2.22_Debianr175245\n") }

func (b *box) list(c *standin.Call, args []string) int {
	switch strings.Join(args, " ") {
	case "vms":
		for _, g := range b.host.Guests() {
			c.Printf("%q {%s}\n", g.Name(), get[string](g, "uuid"))
		}
	case "hostinfo":
		with := map[bool]string{true: "no", false: "yes"}[b.host.Broken() == "novirtual"]
		c.Printf("Host Information:\n\nProcessor online count: 2\nProcessor count: 2\nProcessor supports HW virtualization: %s\nMemory size: 24105 MByte\n", with)
	default:
		b.t.Errorf("VBoxManage list %q is not played", args)
	}
	return 0
}

// vmState is the machine's VMState.
func vmState(g *standin.Guest) string {
	switch {
	case get[bool](g, "saved"):
		return "saved"
	case !g.Running():
		return "poweroff"
	case g.Paused():
		return "paused"
	}
	return "running"
}

func (b *box) showInfo(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	if len(args) != 2 || args[1] != "--machinereadable" {
		b.t.Errorf("showvminfo %q is not played", args)
	}
	cable := map[bool]string{true: "on", false: "off"}[g.Link()]
	c.Printf("name=%q\nencryption=\"disabled\"\nUUID=%q\nCfgFile=%q\nmemory=%d\ncpus=%d\n", g.Name(), get[string](g, "uuid"), get[string](g, "settings"), g.Size().Memory>>20, g.Size().CPUs)
	c.Printf("VMState=%q\nVMStateChangeTime=\"2026-11-23T12:47:00.452000000\"\n", vmState(g))
	c.Printf("cableconnected1=%q\nnic1=%q\n\"SATA-0-0\"=%q\n", cable, get[string](g, "nic"), get[string](g, "disk"))
	for n, key := range []string{"--uartmode1", "--uartmode2"} {
		if mode := get[[]string](g, key); mode != nil {
			c.Printf("uart%d=\"0x03f8,4\"\nuartmode%d=%q\n", n+1, n+1, strings.Join(mode, ","))
		} else {
			c.Printf("uart%d=\"off\"\n", n+1)
		}
	}
	if g.Running() {
		c.Printf("GuestAdditionsRunLevel=2\nGuestAdditionsVersion=\"7.0.6 r1\\\"\nVMState=\\\"poweroff\\\"\"\n")
	}
	return 0
}

func (b *box) create(c *standin.Call, args []string) int {
	o := b.options("createvm", args, map[string]int{"--name": 1, "--ostype": 1, "--register": 0, "--basefolder": 1})
	name := o["--name"][0]
	settings := filepath.Join(o["--basefolder"][0], name, name+".vbox")
	g, err := b.host.Create(name, standin.Size{})
	if _, there := os.Stat(settings); err != nil || there == nil {
		return c.Fail(1, "VBoxManage: error: Machine settings file '%s' already exists\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component MachineWrap, interface IMachine, callee nsISupports", settings)
	}
	return b.register(c, g, settings)
}

// register gives a new machine its id and its settings file.
func (b *box) register(c *standin.Call, g *standin.Guest, settings string) int {
	set(g, "uuid", b.uuid())
	set(g, "settings", settings)
	if err := os.WriteFile(settings, []byte("<VirtualBox/>"), 0o600); err != nil {
		return c.Fail(1, "VBoxManage: error: %v", err)
	}
	return c.Printf("Virtual machine '%s' is created and registered.\nUUID: %s\nSettings file: '%s'\n", g.Name(), get[string](g, "uuid"), settings)
}

// modify changes a machine that is off; the ports of one that is saved, too.
func (b *box) modify(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	one := func(keys ...string) map[string]int {
		all := map[string]int{"--uart1": 2, "--uart2": 2, "--uartmode1": 2, "--uartmode2": 2}
		for _, k := range keys {
			all[k] = 1
		}
		return all
	}
	if strings.Join(args[1:], " ") == "--uart2 off" && vmState(g) == "poweroff" {
		set(g, "--uartmode2", nil)
		return 0
	}
	o := b.options("modifyvm", args[1:], one("--cpus", "--memory", "--acpi", "--ioapic", "--rtcuseutc", "--firmware",
		"--boot1", "--boot2", "--boot3", "--boot4", "--nic1", "--cableconnected1", "--audio-driver", "--graphicscontroller", "--vram"))
	for key := range o {
		if s := vmState(g); s != "poweroff" && !(s == "saved" && strings.HasPrefix(key, "--uartmode")) {
			return c.Fail(1, "VBoxManage: error: The machine is not mutable (state is %s)\nVBoxManage: error: Details: code VBOX_E_INVALID_VM_STATE (0x80bb0002), component SessionMachine, interface IMachine, callee nsISupports", s)
		}
	}
	for _, key := range []string{"--uartmode1", "--uartmode2"} {
		if mode := o[key]; mode != nil {
			set(g, key, mode)
		}
	}
	if cable := o["--cableconnected1"]; cable != nil {
		g.SetLink(cable[0] == "on")
	}
	if nic := o["--nic1"]; nic != nil {
		set(g, "nic", nic[0])
	}
	return 0
}

func (b *box) convert(c *standin.Call, args []string) int {
	if len(args) != 4 || args[2] != "--format" || args[3] != "VDI" {
		b.t.Errorf("convertfromraw %q is not played", args)
	}
	info, err := os.Stat(args[0])
	if err == nil {
		err = os.WriteFile(args[1], []byte("<<< Oracle VM VirtualBox Disk Image >>>\n"), 0o600)
	}
	if err != nil {
		return c.Fail(1, "VBoxManage: error: Cannot open file \"%s\": VERR_FILE_NOT_FOUND", args[0])
	}
	return c.Fail(0, "Converting from raw image file=\"%s\" to file=\"%s\"...\nCreating dynamic image with size %d bytes (%dMB)...", args[0], args[1], info.Size(), info.Size()>>20)
}

// open puts a disk that exists into the list of those that are known.
func (b *box) open(path, kind, parent, owner string) *medium {
	if m := b.media[path]; m != nil {
		return m
	}
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	m := &medium{id: b.uuid(), parent: parent, owner: owner, kind: kind}
	b.media[path] = m
	return m
}

func (b *box) createMedium(c *standin.Call, args []string) int {
	if args[0] != "disk" {
		b.t.Errorf("createmedium %q is not played", args)
	}
	o := b.options("createmedium", args[1:], map[string]int{"--filename": 1, "--format": 1, "--diffparent": 1})
	path, parent := o["--filename"][0], o["--diffparent"][0]
	if b.open(parent, "disk", "", "") == nil {
		return c.Fail(1, "VBoxManage: error: Could not find file for the medium '%s' (VERR_FILE_NOT_FOUND)\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component MediumWrap, interface IMedium, callee nsISupports", parent)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return c.Fail(1, "0%%...VBOX_E_FILE_ERROR\nVBoxManage: error: Failed to create medium\nVBoxManage: error: VDI: cannot create image '%s' (VERR_ALREADY_EXISTS)", path)
	}
	f.Close()
	m := b.open(path, "disk", parent, "")
	c.Fail(0, "%s", progressBar)
	return c.Printf("Medium created. UUID: %s\n", m.id)
}

func (b *box) modifyMedium(c *standin.Call, args []string) int {
	if len(args) != 4 || args[0] != "disk" || args[2] != "--resizebyte" || b.media[args[1]] == nil {
		b.t.Errorf("modifymedium %q is not played", args)
	}
	return c.Fail(0, "%s", progressBar)
}

// children returns how many disks lie on one.
func (b *box) children(path string) (n int) {
	for _, m := range b.media {
		if m.parent == path {
			n++
		}
	}
	return n
}

func (b *box) closeMedium(c *standin.Call, args []string) int {
	m := b.media[args[1]]
	switch {
	case len(args) != 2:
		b.t.Errorf("closemedium %q is not played", args)
	case m == nil:
		return c.Fail(1, "VBoxManage: error: Could not find file for the medium '%s' (VERR_FILE_NOT_FOUND)\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component MediumWrap, interface IMedium, callee nsISupports", args[1])
	case b.children(args[1]) > 0:
		return c.Fail(1, "VBoxManage: error: Cannot close medium '%s' because it has %d child media\nVBoxManage: error: Details: code VBOX_E_OBJECT_IN_USE (0x80bb000c), component MediumWrap, interface IMedium, callee nsISupports", args[1], b.children(args[1]))
	}
	delete(b.media, args[1])
	return 0
}

func (b *box) storageController(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	o := b.options("storagectl", args[1:], map[string]int{"--name": 1, "--add": 1, "--portcount": 1, "--bootable": 1})
	set(g, "controller", o["--name"][0])
	return 0
}

func (b *box) attach(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	o := b.options("storageattach", args[1:], map[string]int{"--storagectl": 1, "--port": 1, "--device": 1, "--type": 1, "--medium": 1})
	if o["--storagectl"][0] != get[string](g, "controller") {
		return c.Fail(1, "VBoxManage: error: Could not find a controller named '%s'", o["--storagectl"][0])
	}
	path, kind := o["--medium"][0], "disk"
	if o["--type"][0] == "dvddrive" {
		kind = "dvd"
	}
	m := b.open(path, kind, "", g.Name())
	if m == nil {
		return c.Fail(1, "VBoxManage: error: Could not find file for the medium '%s' (VERR_FILE_NOT_FOUND)\nVBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component MediumWrap, interface IMedium, callee nsISupports\nVBoxManage: error: Invalid UUID or filename \"%s\"", path, path)
	}
	if kind == "dvd" {
		if err := g.Seed(path); err != nil {
			b.t.Errorf("storageattach: %v", err)
		}
		return 0
	}
	m.owner = g.Name()
	set(g, "disk", path)
	return 0
}

// unregister forgets a machine and the disks that are its own. With --delete the
// real one deletes the disks below them too, if nothing else lies on those, so
// nobody may ask for it.
func (b *box) unregister(c *standin.Call, args []string) int {
	g := b.find(args[0])
	if g == nil {
		return b.notFound(c, args[0])
	}
	if len(args) > 1 {
		b.t.Errorf("unregistervm %q deletes the image's disk", args)
	}
	if g.Running() && !get[bool](g, "saved") {
		return c.Fail(1, "VBoxManage: error: Cannot unregister the machine '%s' while it is locked\nVBoxManage: error: Details: code VBOX_E_INVALID_OBJECT_STATE (0x80bb0007), component MachineWrap, interface IMachine, callee nsISupports", args[0])
	}
	for path, m := range b.media {
		if m.owner == g.Name() && m.kind == "disk" {
			if b.children(path) > 0 {
				b.t.Errorf("%s is unregistered while %s has children", g.Name(), path)
			}
			delete(b.media, path)
		}
	}
	g.Delete()
	return 0
}

// nothingLeft fails if the stand-in still knows a machine or a disk, or the
// driver's folder has more than the image's disk.
func (b *box) nothingLeft(home string) {
	b.t.Helper()
	for _, g := range b.host.Guests() {
		b.t.Errorf("the machine %s is left", g.Name())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for path := range b.media {
		b.t.Errorf("VirtualBox still has the disk %s", path)
	}
	var files []string
	root := filepath.Join(home, "drivers", driverName, "machines")
	filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != root {
			files = append(files, path)
		}
		return nil
	})
	if len(files) > 0 {
		b.t.Errorf("files are left: %q", slices.Compact(files))
	}
}
