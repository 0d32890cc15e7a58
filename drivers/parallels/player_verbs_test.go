package parallels

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay/drivers/standin"
)

// start boots a machine with the devices that it has.
func (p *player) start(c *standin.Call, g *standin.Guest, b *box) int {
	if c.Host.Broken() == "lying" {
		return c.Printf("The VM has been successfully started.\n")
	}
	switch b.State {
	case running:
		return p.fail(c, "The virtual machine is already started.")
	case suspended:
		return p.resume(c, g, b)
	}
	if err := p.boot(g, b); err != nil {
		return c.Fail(255, "Failed to start the VM: %v", err)
	}
	b.State = running
	return c.Printf("Starting the VM...\nThe VM has been successfully started.\n")
}

func (p *player) boot(g *standin.Guest, b *box) error {
	if image := b.Devices["hdd0"]["image"]; image != "" {
		if err := checkDisk(image); err != nil {
			return err
		}
	}
	for name, d := range b.Devices {
		if strings.HasPrefix(name, "cdrom") && d["image"] != "" && d["connected"] == "yes" {
			if err := g.Seed(d["image"]); err != nil {
				return err
			}
		}
	}
	if err := g.Start(); err != nil {
		return err
	}
	b.deaf = 1
	return p.serial(g, b)
}

// serial connects the serial ports of a guest that was just switched on.
func (p *player) serial(g *standin.Guest, b *box) error {
	if path := b.Devices["serial0"]["output"]; path != "" {
		if err := os.WriteFile(path, g.Console(), 0o600); err != nil {
			return err
		}
	}
	socket := b.Devices["serial1"]["socket"]
	if args, ok := g.Listens(); socket == "" || !ok || args != "port "+guestPort {
		return nil
	}
	return g.Listen(socket)
}

// checkDisk reads a plain disk's description as Parallels would.
func checkDisk(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, descriptionName))
	if err != nil {
		return err
	}
	var size int64
	_, rest, _ := strings.Cut(string(text), "<Disk_size>")
	if _, err := fmt.Sscanf(rest, "%d", &size); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(dir, plainName))
	if err == nil && info.Size() != size*512 {
		err = fmt.Errorf("%s has %d bytes, its description says %d sectors", plainName, info.Size(), size)
	}
	return err
}

func (p *player) stop(c *standin.Call, g *standin.Guest, b *box) int {
	switch how := strings.Join(c.Args[2:], " "); {
	case how == "--drop-state" && b.State != suspended, how == "" && b.State != running:
		return p.fail(c, `Unable to perform the operation because "`+g.Name()+`" is not started.`)
	case how != "" && how != "--kill" && how != "--drop-state":
		return p.unknown(c)
	}
	end := g.Kill
	if len(c.Args) == 2 {
		end = g.Shutdown
	}
	_ = end()
	b.State = stopped
	if c.Host.Broken() == "lying" {
		return c.Fail(255, "Failed to stop the VM: Operation canceled") // it was seen to say so
	}
	return c.Printf("The VM has been successfully stopped.\n")
}

func (p *player) pause(c *standin.Call, g *standin.Guest, b *box) int {
	return p.still(c, g, b, paused)
}

func (p *player) suspend(c *standin.Call, g *standin.Guest, b *box) int {
	return p.still(c, g, b, suspended)
}

func (p *player) still(c *standin.Call, g *standin.Guest, b *box, state string) int {
	if b.State != running || g.Pause() != nil {
		return p.fail(c, `Unable to perform the operation because "`+g.Name()+`" is not started.`)
	}
	b.State = state
	return c.Printf("The VM has been successfully %s.\n", state)
}

func (p *player) resume(c *standin.Call, g *standin.Guest, b *box) int {
	if b.State != paused && b.State != suspended || g.Resume() != nil {
		return p.fail(c, "The virtual machine is not paused.")
	}
	b.State = running
	return c.Printf("The VM has been successfully resumed.\n")
}

// delete asks, as version 26 does.
func (p *player) delete(c *standin.Call, g *standin.Guest, b *box) int {
	fmt.Fprint(c.Stdout, "Are you sure that you want to delete the virtual machine? [y/n] ")
	if answer, _ := io.ReadAll(c.Stdin); string(answer) != "y\n" {
		return c.Fail(255, "Operation canceled")
	}
	if b.State != stopped {
		return p.fail(c, "Failed to remove the VM: it is running.")
	}
	for _, other := range p.host.Guests() {
		if of(other).Parent == b.UUID {
			return p.fail(c, "Failed to remove the VM: it has linked clones.")
		}
	}
	g.Delete()
	if err := os.RemoveAll(b.Home); err != nil {
		return c.Fail(255, "%v", err)
	}
	return c.Printf("The VM has been successfully removed.\n")
}

// exec runs a line of shell by Parallels Tools, which need a moment after a boot.
// It is called with the lock and gives it back.
func (p *player) exec(c *standin.Call, g *standin.Guest, b *box) int {
	deaf := b.deaf > 0 || !b.Tools || c.Host.Broken() == "tools"
	b.deaf--
	state := b.State
	boxes.Unlock()
	switch {
	case len(c.Args) != 3 || strings.HasPrefix(c.Args[2], "-"):
		return p.unknown(c)
	case state == stopped || state == suspended:
		return p.fail(c, `Unable to perform the operation because "`+g.Name()+`" is not started.`)
	case deaf:
		return p.fail(c, "Failed to execute the command: Unable to open new session in this virtual machine. Make sure your virtual machine has finished booting, runs the latest version of Parallels Tools, and is not isolated from the host OS.")
	}
	return g.Exec(c, []string{"sh", "-c", c.Args[2]}, standin.ExecOptions{})
}

func (p *player) snapshot(c *standin.Call, g *standin.Guest, b *box) int {
	if len(c.Args) != 4 || c.Args[2] != "--name" {
		return p.unknown(c)
	}
	id := "{" + uuid() + "}"
	if c.Host.Broken() == "lying" {
		return c.Printf("The snapshot with id %s has been successfully created.\n", id)
	}
	if c.Host.Broken() == "full" {
		return p.fail(c, "Failed to create the snapshot: There is not enough disk space on the Mac to complete this operation.")
	}
	if err := g.Snapshot(id, b.State != stopped); err != nil {
		return c.Fail(255, "%v", err)
	}
	return c.Printf("Creating the snapshot...\nThe snapshot with id %s has been successfully created.\n", id)
}

// snapshots prints nothing at all if there is none.
func (p *player) snapshots(c *standin.Call, g *standin.Guest, _ *box) int {
	if !slices.Equal(c.Args[2:], []string{"--json"}) {
		return p.unknown(c)
	}
	all := map[string]any{}
	for _, s := range g.Snapshots() {
		state := map[bool]string{true: "poweron", false: "poweroff"}[s.Memory]
		all[s.Name] = map[string]any{"name": "x", "date": "2026-03-12 13:55:00", "state": state, "current": s.Name == g.Current(), "parent": s.Parent}
	}
	if len(all) == 0 {
		return 0
	}
	text, _ := json.Marshal(all)
	return c.Printf("%s\n", text)
}

func (p *player) restore(c *standin.Call, g *standin.Guest, b *box) int {
	if len(c.Args) != 4 || c.Args[2] != "--id" {
		return p.unknown(c)
	}
	if err := g.Restore(c.Args[3]); err != nil {
		return p.fail(c, "Failed to switch to the snapshot: The configuration file is invalid.")
	}
	b.State = stopped
	if g.Running() {
		b.State, b.deaf = running, 1
		if err := p.serial(g, b); err != nil {
			return c.Fail(255, "%v", err)
		}
	}
	return c.Printf("Switch to the snapshot...\nThe VM has been successfully switched to the snapshot.\n")
}

func (p *player) forget(c *standin.Call, g *standin.Guest, _ *box) int {
	if len(c.Args) != 4 || c.Args[2] != "--id" {
		return p.unknown(c)
	}
	if err := g.DeleteSnapshot(c.Args[3]); err != nil {
		return p.fail(c, "Failed to delete the snapshot: The configuration file is invalid.")
	}
	return c.Printf("The snapshot has been successfully deleted.\n")
}

func (p *player) capture(c *standin.Call, g *standin.Guest, _ *box) int {
	if len(c.Args) != 4 || c.Args[2] != "--file" {
		return p.unknown(c)
	}
	if err := os.WriteFile(c.Args[3], g.Screenshot(), 0o600); err != nil {
		return c.Fail(255, "%v", err)
	}
	return c.Printf("Capture the VM screen...\nThe VM screen has been saved to %s\n", c.Args[3])
}

// ps lists a process for each machine that runs, as macOS does.
func (p *player) ps(c *standin.Call) int {
	boxes.Lock()
	defer boxes.Unlock()
	for i, g := range p.host.Guests() {
		if b := of(g); g.Running() {
			c.Printf("%5d %6d   0:01.23 /Applications/Parallels Desktop.app/Contents/MacOS/prl_vm_app --openvm %s/config.pvs\n", 500+i, 400000, b.Home)
		}
	}
	return c.Printf("    1  20000 123:45.67 /sbin/launchd\n")
}

// inspect calls look under the players' lock.
func (p *player) inspect(id string) (g *standin.Guest, b box) {
	boxes.Lock()
	defer boxes.Unlock()
	g, found := p.look(id)
	if found != nil {
		b = *found
	}
	return g, b
}
