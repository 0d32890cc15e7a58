package utm

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strconv"

	"assay/drivers/standin"
)

// osascript knows the driver's scripts, and what AppleScript would do with them.
func (p *player) osascript(c *standin.Call) int {
	if code, is := p.broken(c); is {
		return 1 + code
	}
	text, _ := io.ReadAll(c.Stdin)
	plays := map[string]func(*standin.Call, []string) int{
		"make": p.make, "outfit": p.outfit, "line": p.line,
		"version": func(c *standin.Call, _ []string) int { return c.Printf("%s\n", p.version) },
	}
	if len(c.Args) == 0 || c.Args[0] != "-" {
		return p.unknown(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, play := range plays {
		script, err := scripts.ReadFile("script/" + name + ".applescript")
		if err == nil && bytes.Equal(script, text) {
			return play(c, c.Args[1:])
		}
	}
	return p.unknown(c)
}

// scriptError fails as osascript does.
func (p *player) scriptError(c *standin.Call, reason string) int {
	if c.Host.Broken() == "german" {
		reason = "Nein."
	}
	return c.Fail(1, "118:301: execution error: UTM got an error: %s (-2700)", reason)
}

func (p *player) make(c *standin.Call, args []string) int {
	if len(args) < 9 {
		return p.scriptError(c, "No name specified in the configuration.")
	}
	memory, err1 := strconv.Atoi(args[4])
	cores, err2 := strconv.Atoi(args[5])
	_, err3 := os.Stat(args[6])
	switch {
	case err1 != nil || err2 != nil || err3 != nil || args[1] != "x86_64" && args[1] != "aarch64":
		return p.scriptError(c, "A valid configuration must be specified.")
	case c.Host.Broken() == "full":
		return p.scriptError(c, "The file couldn’t be saved because there is not enough disk space.")
	}
	g, err := p.host.Create(args[0], standin.Size{})
	if err != nil {
		return p.scriptError(c, err.Error())
	}
	b := &box{State: stopped, Memory: memory, Cores: cores, Disk: args[6], Seed: args[7], Network: args[8], Extra: slices.Clone(args[9:])}
	p.keep(g, b)
	return c.Printf("%s\n", b.UUID)
}

// configure finds a machine that may be configured.
func (p *player) configure(c *standin.Call, args []string, least int) *box {
	if len(args) < least {
		p.scriptError(c, "One or more required parameters are missing or invalid.")
		return nil
	}
	_, b := p.look(args[0])
	if b == nil || b.State != stopped {
		p.scriptError(c, notStopped)
		return nil
	}
	return b
}

func (p *player) outfit(c *standin.Call, args []string) int {
	b := p.configure(c, args, 4)
	if b == nil {
		return 1
	}
	b.Memory, _ = strconv.Atoi(args[1])
	b.Cores, _ = strconv.Atoi(args[2])
	b.Network = args[3]
	return 0
}

func (p *player) line(c *standin.Call, args []string) int {
	b := p.configure(c, args, 3)
	if b == nil {
		return 1
	}
	b.Extra = slices.DeleteFunc(b.Extra, func(a string) bool { return slices.Contains(args[2:], a) })
	if args[1] == "add" {
		b.Extra = append(b.Extra, args[2:]...)
	}
	return 0
}

// ps lists a process for each machine that runs, as macOS does.
func (p *player) ps(c *standin.Call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, g := range p.host.Guests() {
		if b := of(g); g.Running() {
			c.Printf("%5d %6d   0:01.23 QEMULauncher qemu-aarch64-softmmu -uuid %s -name %s\n", 500+i, 400000, b.UUID, g.Name())
		}
	}
	return 0
}

// inspect returns what UTM knows of a machine.
func (p *player) inspect(id string) (b box) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, found := p.look(id); found != nil {
		b = *found
	}
	return b
}
