package vmware

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"assay/drivers/standin"
)

// A studio is a stand-in for VMware: it knows machines by their .vmx files and
// keeps what it knows of their snapshots in files beside those, so that a copied
// folder is a machine, too. Its words are from the notes on vmrun 1.17; it was
// never compared with the real one.
type studio struct {
	t    *testing.T
	host *standin.Host
	kind string // what is installed: ws, player
	mu   sync.Mutex

	refused int    // times that the guest's tools let nobody in
	enough  func() // called when a call hangs, and at the third refusal
}

// newStudio installs vmrun, and the ps by which the host is asked what a
// machine's process costs.
func newStudio(t *testing.T, kind string) *studio {
	s := &studio{t: t, kind: kind}
	s.host = standin.New(t, "vmrun", s.play)
	s.host.Tool("ps", s.ps)
	return s
}

// A vmrun is one call of vmrun's.
type vmrun struct {
	*standin.Call
	user, password string
	verb, vmx      string
	args           []string // after the .vmx
}

// verbs are what the stand-in can do, by the command's word.
var verbs = map[string]func(*studio, vmrun) int{
	"clone": (*studio).clone, "start": (*studio).start, "stop": (*studio).stop, "deleteVM": (*studio).deleteVM,
	"snapshot": (*studio).snapshot, "listSnapshots": (*studio).listSnapshots, "revertToSnapshot": (*studio).revert,
	"pause": (*studio).pause, "unpause": (*studio).pause, "connectNamedDevice": (*studio).connect,
	"disconnectNamedDevice": (*studio).connect, "captureScreen": (*studio).capture, "deleteSnapshot": (*studio).deleteSnapshot,
	"CopyFileFromHostToGuest": (*studio).tools, "CopyFileFromGuestToHost": (*studio).tools,
	"runProgramInGuest": (*studio).tools, "deleteFileInGuest": (*studio).tools,
}

// complain says what is wrong as vmrun does: on the standard output.
func complain(c *standin.Call, text string) int {
	c.Printf("Error: %s\n", text)
	return 255
}

// play answers one call.
func (s *studio) play(c *standin.Call) int {
	if len(c.Args) == 0 {
		c.Printf("\nvmrun version 1.17.0 build-14665864\n\nUsage: vmrun [AUTHENTICATION-FLAGS] COMMAND [PARAMETERS]\n")
		return 255
	}
	r := vmrun{Call: c}
	args := c.Args
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-gu":
			r.user = args[1]
		case "-gp":
			r.password = args[1]
		case "-T":
			if args[1] != s.kind || s.host.Broken() == "daemon" {
				c.Printf("Unable to connect to host.\n")
				return complain(c, "The specified version was not found")
			}
		default:
			s.t.Errorf("vmrun has no flag %s", args[0])
		}
		args = args[2:]
	}
	if len(args) == 1 && args[0] == "list" {
		return s.list(r)
	}
	if len(args) < 2 || verbs[args[0]] == nil {
		s.t.Errorf("vmrun has no command %q", args)
		return complain(c, "Unrecognized command: "+strings.Join(args, " "))
	}
	r.vmx, r.args = args[1], args[2:]
	if code, broken := s.broken(r, args[0]); broken {
		return code
	}
	if _, err := os.Stat(r.vmx); err != nil {
		return complain(c, "Cannot open VM: "+r.vmx+", The virtual machine cannot be found")
	}
	r.verb = args[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	return verbs[args[0]](s, r)
}

// broken answers for a host that is out of order.
func (s *studio) broken(r vmrun, verb string) (int, bool) {
	switch mode := s.host.Broken(); {
	case mode == "full" && verb == "clone":
		return complain(r.Call, "There is not enough space in the file system for the operation"), true
	case mode == "lying" && verb == "clone":
		complain(r.Call, "One of the parameters was invalid")
		return 0, true
	case mode == "virtual" && verb == "start":
		return complain(r.Call, "This host does not support VT-x"), true
	case mode == "canceled" && verb == "start":
		return complain(r.Call, "The operation was canceled"), true
	case mode == "hang" && verb == "start":
		s.enough()
		return r.Hang(), true
	case mode == "tools" && verb == "captureScreen":
		return complain(r.Call, "The VMware Tools are not running in the virtual machine: "+r.vmx), true
	}
	return 0, false
}

func (s *studio) list(r vmrun) int {
	var on []string
	for _, g := range s.host.Guests() {
		if g.Running() && !get[bool](g, "suspended") {
			on = append(on, g.Name())
		}
	}
	r.Printf("Total running VMs: %d\n", len(on))
	for _, vmx := range on {
		r.Printf("%s\n", vmx)
	}
	return 0
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

// must fails the test: the player itself has gone wrong.
func (s *studio) must(err error) {
	if err != nil {
		s.t.Errorf("player: %v", err)
	}
}

// guest returns the machine of a .vmx, which is one as soon as there is a file.
func (s *studio) guest(vmx string) *standin.Guest {
	if g := s.host.Guest(vmx); g != nil {
		return g
	}
	g, err := s.host.Create(vmx, standin.Size{})
	s.must(err)
	return g
}

func beside(vmx, ext string) string { return strings.TrimSuffix(vmx, ".vmx") + ext }

func (s *studio) clone(r vmrun) int {
	if s.kind == "player" {
		return complain(r.Call, "The operation is not supported")
	}
	if len(r.args) != 4 || r.args[1] != "linked" || !strings.HasPrefix(r.args[3], "-cloneName=") {
		s.t.Errorf("clone %q is not played", r.args)
	}
	dst, snapshot := r.args[0], strings.TrimPrefix(r.args[2], "-snapshot=")
	if _, err := os.Stat(dst); err == nil {
		return complain(r.Call, "The file already exists")
	}
	if saved, err := s.find(r.vmx, snapshot); err != nil {
		return complain(r.Call, "The snapshot does not exist")
	} else if saved.Memory {
		return complain(r.Call, "The virtual machine should be powered off")
	}
	c, err := readConfig(r.vmx)
	s.must(err)
	disk := strings.TrimSuffix(filepath.Base(dst), ".vmx") + "-cl1.vmdk"
	s.must(os.WriteFile(filepath.Join(filepath.Dir(dst), disk), nil, 0o600))
	s.must(c.with("scsi0:0.fileName", disk, "displayName", strings.TrimPrefix(r.args[3], "-cloneName=")).write(dst))
	return 0
}

// start switches a machine on, or lets it run on from its saved memory.
func (s *studio) start(r vmrun) int {
	if len(r.args) != 1 || r.args[0] != "nogui" {
		s.t.Errorf("start %q is not played", r.args)
	}
	g := s.guest(r.vmx)
	c, err := readConfig(r.vmx)
	s.must(err)
	run := g.Start
	if get[bool](g, "suspended") {
		run = g.Resume
		s.must(os.Remove(beside(r.vmx, ".vmss")))
	} else if iso := c.get("sata0:1.fileName"); iso != "" {
		s.must(g.Seed(filepath.Join(filepath.Dir(r.vmx), iso)))
	}
	if err := run(); err != nil {
		return complain(r.Call, "This VM is in use.")
	}
	set(g, "suspended", false)
	g.SetLink(c.get("ethernet0.startConnected") == "TRUE")
	return s.wire(r, g, c)
}

// wire gives the serial ports of a machine that has started to the host: the
// first writes the console's file anew, the second is a socket.
func (s *studio) wire(r vmrun, g *standin.Guest, c config) int {
	text := g.Console()
	mode := s.host.Broken()
	switch mode {
	case "panic":
		text = append(text, "Kernel panic - not syncing: VFS: Unable to mount root fs\n"...)
	case "quits":
		text, _ = []byte("reboot: Power down\n"), g.Kill()
	}
	if c.get("serial0.fileType") == "file" {
		s.must(os.WriteFile(c.get("serial0.fileName"), text, 0o600))
	}
	if c.get("serial1.fileType") != "pipe" || c.get("serial1.pipe.endPoint") != "server" || mode == "panic" || mode == "quits" {
		return 0
	}
	if args, ok := g.Listens(); ok && args != "port /dev/ttyS1" {
		s.t.Errorf("the agent listens on %q, and the second serial port is /dev/ttyS1", args)
	}
	if err := g.Listen(c.get("serial1.fileName")); err != nil {
		s.t.Errorf("%s: serial1: %v", r.vmx, err)
	}
	return 0
}

func (s *studio) stop(r vmrun) int {
	g := s.guest(r.vmx)
	if !g.Running() || get[bool](g, "suspended") {
		return complain(r.Call, "The virtual machine is not powered on: "+r.vmx)
	}
	if slices.Contains(r.args, "soft") {
		s.must(g.Shutdown())
		return 0
	}
	s.must(g.Kill())
	return 0
}

// deleteVM deletes what it knows of, and leaves what it does not.
func (s *studio) deleteVM(r vmrun) int {
	g := s.guest(r.vmx)
	if g.Running() && !get[bool](g, "suspended") {
		return complain(r.Call, "This VM is in use.")
	}
	g.Delete()
	if s.host.Broken() == "open" {
		return complain(r.Call, "Insufficient permissions in the host operating system")
	}
	s.must(os.Remove(r.vmx))
	return 0
}

func (s *studio) pause(r vmrun) int {
	g := s.guest(r.vmx)
	if !g.Running() {
		return complain(r.Call, "The virtual machine is not powered on: "+r.vmx)
	}
	if g.Paused() {
		s.must(g.Resume())
		return 0
	}
	s.must(g.Pause())
	return 0
}

func (s *studio) connect(r vmrun) int {
	if len(r.args) != 1 || r.args[0] != "ethernet0" {
		s.t.Errorf("connectNamedDevice %q is not played", r.args)
	}
	g := s.guest(r.vmx)
	if !g.Running() {
		return complain(r.Call, "The virtual machine is not powered on: "+r.vmx)
	}
	g.SetLink(!g.Link())
	return 0
}

func (s *studio) capture(r vmrun) int {
	if want := get[string](s.guest(r.vmx), "password"); want != "" && r.password != want {
		return complain(r.Call, "Invalid user name or password for the guest OS")
	} else if want == "" && r.user != "tester" || r.password == "" || len(r.args) != 1 {
		return complain(r.Call, "Invalid user name or password for the guest OS")
	}
	s.must(os.WriteFile(r.args[0], s.guest(r.vmx).Screenshot(), 0o600))
	return 0
}

// tools does what needs VMware Tools, and somebody's account, in the guest.
func (s *studio) tools(r vmrun) int {
	g := s.guest(r.vmx)
	switch {
	case !g.Running():
		return complain(r.Call, "The virtual machine is not powered on: "+r.vmx)
	case s.host.Broken() == "tools":
		s.refuse()
		return complain(r.Call, "The VMware Tools are not running in the virtual machine: "+r.vmx)
	case r.user == "" || r.password == "" || r.password != get[string](g, "password"):
		s.refuse()
		return complain(r.Call, "Invalid user name or password for the guest OS")
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	var data []byte
	var err error
	switch r.verb {
	case "CopyFileFromHostToGuest":
		if data, err = os.ReadFile(r.args[0]); err == nil {
			err = g.Write(r.args[1], data, 0o644)
		}
	case "CopyFileFromGuestToHost":
		if data, err = g.Read(r.args[0]); err == nil {
			err = os.WriteFile(r.args[1], data, 0o600)
		}
	case "deleteFileInGuest":
		r.args = []string{"/bin/sh", "-c", "rm " + r.args[0]}
		fallthrough
	case "runProgramInGuest":
		quiet := *r.Call // what a program says stays in the guest
		quiet.Stdin, quiet.Stdout, quiet.Stderr = strings.NewReader(""), io.Discard, io.Discard
		if code := g.Exec(&quiet, r.args, standin.ExecOptions{User: r.user}); code != 0 {
			r.Printf("Guest program exited with non-zero exit code: %d\n", code)
			return 255
		}
	}
	if err != nil {
		return complain(r.Call, "A file was not found")
	}
	return 0
}

// refuse counts how often nobody was let in.
func (s *studio) refuse() {
	if s.refused++; s.refused == 3 && s.enough != nil {
		s.enough()
	}
}

func (s *studio) deleteSnapshot(r vmrun) int {
	st, err := s.find(r.vmx, r.args[0])
	if err != nil {
		return complain(r.Call, "The snapshot does not exist")
	}
	s.must(s.guest(r.vmx).DeleteSnapshot(st.ID))
	return 0
}

// ps lists the processes of the machines that run.
func (s *studio) ps(c *standin.Call) int {
	for i, g := range s.host.Guests() {
		if g.Running() {
			c.Printf("%7d 51200 00:00:05 /usr/lib/vmware/bin/vmware-vmx -s vmx.stdio.keep=TRUE -# product=1;name=VMware %s\n", 4000+i, g.Name())
		}
	}
	return 0
}

// A savedState is what a .vmsn file holds.
type savedState struct {
	Guest, ID string
	Memory    bool
	Config    config // the machine's description, which goes back too
}

// find reads a snapshot's file by the list beside a .vmx.
func (s *studio) find(vmx, name string) (st savedState, err error) {
	list, err := readConfig(beside(vmx, ".vmsd"))
	if err != nil {
		return st, err
	}
	for i := range 100 {
		if list.get(fmt.Sprintf("snapshot%d.displayName", i)) == name {
			data, err := os.ReadFile(filepath.Join(filepath.Dir(vmx), list.get(fmt.Sprintf("snapshot%d.filename", i))))
			if err != nil {
				return st, err
			}
			return st, json.Unmarshal(data, &st)
		}
	}
	return st, fs.ErrNotExist
}

func (s *studio) snapshot(r vmrun) int {
	if s.kind == "player" {
		return complain(r.Call, "The operation is not supported")
	}
	name := r.args[0]
	if _, err := s.find(r.vmx, name); err == nil {
		return complain(r.Call, "The name already exists")
	}
	g := s.guest(r.vmx)
	id := fmt.Sprintf("%s#%s", r.vmx, name)
	s.must(g.Snapshot(id, true))
	c, err := readConfig(r.vmx)
	s.must(err)
	data, err := json.Marshal(savedState{Guest: g.Name(), ID: id, Memory: g.Running(), Config: c})
	s.must(err)
	list, err := readConfig(beside(r.vmx, ".vmsd"))
	if err != nil {
		list = config{`.encoding = "UTF-8"`}
	}
	n := 0
	for list.get(fmt.Sprintf("snapshot%d.uid", n)) != "" {
		n++
	}
	file := fmt.Sprintf("%s-Snapshot%d.vmsn", filepath.Base(beside(r.vmx, "")), n+1)
	s.must(os.WriteFile(filepath.Join(filepath.Dir(r.vmx), file), data, 0o600))
	at := fmt.Sprintf("snapshot%d.", n)
	s.must(list.with(at+"uid", fmt.Sprint(n+1), at+"filename", file, at+"displayName", name,
		at+"disk0.fileName", c.get("scsi0:0.fileName"), "snapshot.numSnapshots", fmt.Sprint(n+1)).write(beside(r.vmx, ".vmsd")))
	s.layer(r.vmx, c)
	return 0
}

// layer gives a machine a new disk to write to.
func (s *studio) layer(vmx string, c config) {
	for n := 1; ; n++ {
		disk := fmt.Sprintf("%s-%06d.vmdk", filepath.Base(beside(vmx, "")), n)
		f, err := os.OpenFile(filepath.Join(filepath.Dir(vmx), disk), os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			continue
		}
		f.Close()
		s.must(slices.Clone(c).with("scsi0:0.fileName", disk).write(vmx))
		return
	}
}

func (s *studio) listSnapshots(r vmrun) int {
	list, err := readConfig(beside(r.vmx, ".vmsd"))
	if err != nil {
		return r.Printf("Total snapshots: 0\n")
	}
	r.Printf("Total snapshots: %s\n", list.get("snapshot.numSnapshots"))
	for i := 0; list.get(fmt.Sprintf("snapshot%d.uid", i)) != ""; i++ {
		r.Printf("%s\n", list.get(fmt.Sprintf("snapshot%d.displayName", i)))
	}
	return 0
}

// revert makes a machine what it was, description and all; it is suspended, or
// off. A machine that nobody knows, in a copied folder, gets what the files say.
func (s *studio) revert(r vmrun) int {
	st, err := s.find(r.vmx, r.args[0])
	if err != nil {
		return complain(r.Call, "The snapshot does not exist")
	}
	g := s.host.Guest(r.vmx)
	if g == nil {
		parent := s.host.Guest(st.Guest)
		if parent == nil {
			s.t.Errorf("%s: the stand-in has lost %s", r.vmx, st.Guest)
			return 255
		}
		g, err = parent.Twin(r.vmx, st.ID)
		s.must(err)
	}
	s.must(g.Restore(st.ID))
	if g.Running() {
		s.must(g.Pause())
		set(g, "suspended", true)
		s.must(os.WriteFile(beside(r.vmx, ".vmss"), nil, 0o600))
	}
	s.layer(r.vmx, st.Config)
	return 0
}

// nothingLeft fails if the stand-in still knows a machine that is none of the
// driver's templates, or the driver's folder has one.
func (s *studio) nothingLeft(home string) {
	s.t.Helper()
	for _, g := range s.host.Guests() {
		if filepath.Base(g.Name()) != templateName {
			s.t.Errorf("the machine %s is left", g.Name())
		}
	}
	left, err := filepath.Glob(filepath.Join(home, "drivers", driverName, "machines", "*"))
	if err != nil || len(left) > 0 {
		s.t.Errorf("files are left: %q, %v", left, err)
	}
}
