package utm

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay/drivers/internal/cli"
)

// complaints are what utmctl and osascript say on their standard error. Each is
// an error whatever the exit code, which utmctl leaves at 0. macOS translates the
// sentences, but not the numbers.
var complaints = []cli.Pattern{
	{Text: "Application not found", Kind: cli.ErrNotInstalled, Fix: install, Always: true},
	{Text: "-1743", Kind: fs.ErrPermission, Fix: allow, Always: true},
	{Text: "not work from SSH sessions", Kind: fs.ErrPermission, Fix: allow, Always: true},
	{Text: "Virtual machine not found", Kind: fs.ErrNotExist, Always: true},
	{Text: "Snapshot not found", Kind: fs.ErrNotExist, Always: true},
	{Text: "guest agent is not running", Kind: cli.ErrNoTools, Fix: "install qemu-guest-agent in the guest", Always: true},
	{Text: "not running", Kind: cli.ErrState, Always: true},
	{Text: "must be stopped", Kind: cli.ErrState, Always: true},
	{Text: "Operation not available", Kind: cli.ErrState, Always: true},
	{Text: "not supported by the backend", Kind: errors.ErrUnsupported, Fix: "use a virtual machine that UTM runs with QEMU", Always: true},
	{Text: "No space left", Kind: cli.ErrNoSpace, Always: true},
	{Text: "not enough disk space", Kind: cli.ErrNoSpace, Always: true},
	{Text: "(-640)", Kind: cli.ErrNoSpace, Always: true}, // NSFileWriteOutOfSpaceError
	{Text: "-609", Kind: errBusy, Always: true},
	{Text: "-600", Kind: cli.ErrDaemon, Fix: "open -a UTM", Always: true},
	{Text: "not ready to accept commands", Kind: errBusy, Always: true},
	{Text: "OSStatus", Kind: cli.ErrFailed, Always: true},
	{Text: "Error from event", Kind: cli.ErrFailed, Always: true},
	{Text: "Error:", Kind: cli.ErrFailed, Always: true},
}

const (
	install = "brew install --cask utm"
	allow   = "tccutil reset AppleEvents" // macOS then asks again
)

// errBusy is UTM while it starts, or just after its configuration was changed.
var errBusy = fmt.Errorf("%w at this moment", cli.ErrDaemon)

// application is where UTM keeps its command, which no PATH has.
const application = "Applications/UTM.app/Contents/MacOS/utmctl"

func utmctl() cli.Tool {
	places := []string{"/" + application}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, application))
	}
	return cli.Tool{Driver: name, Name: "utmctl", Systems: systems, Places: places, Errors: complaints, Fix: install, Limit: 3 * time.Minute}
}

func osascript() cli.Tool {
	return cli.Tool{
		Driver: name, Name: "osascript", Places: []string{"/usr/bin/osascript"}, Errors: complaints,
		Fix: "it is a part of macOS; UTM runs there only", Limit: 10 * time.Minute, // it copies disks
	}
}

//go:embed script/*.applescript
var scripts embed.FS

// attempts is how often a call is made that UTM cannot take just now.
const attempts = 4

// again makes a call, and makes it again while UTM is busy.
func (d *driver) again(ctx context.Context, call func() (cli.Result, error)) (cli.Result, error) {
	return cli.Again(ctx, attempts, d.pause, errBusy, call)
}

// run runs utmctl.
func (d *driver) run(ctx context.Context, args ...string) (cli.Result, error) {
	return d.again(ctx, func() (cli.Result, error) { return d.ctl.Run(ctx, args...) })
}

// script runs one of the scripts with arguments, which it gets on its standard
// input.
func (d *driver) script(ctx context.Context, script string, args ...string) (string, error) {
	text, err := scripts.ReadFile("script/" + script + ".applescript")
	if err != nil {
		return "", err
	}
	r, err := d.again(ctx, func() (cli.Result, error) {
		return d.osa.Do(ctx, cli.Call{Args: append([]string{"-"}, args...), Stdin: strings.NewReader(string(text))})
	})
	return r.Text(), err
}

// arrival is the wait for what a command was to bring about.
func (d *driver) arrival(what string, failed error) cli.Arrival {
	return cli.Arrival{What: what, Failed: failed, Doubt: d.doubt, Limit: d.power}
}

// A version is UTM's.
type version [3]int

// snapshots is the first version that has snapshots of its own.
var snapshots = version{5, 0, 6}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// parse reads as many numbers as there are.
func (v *version) parse(text string) { _, _ = fmt.Sscanf(text, "%d.%d.%d", &v[0], &v[1], &v[2]) }

func (v version) atLeast(other version) bool {
	for i := range v {
		if v[i] != other[i] {
			return v[i] > other[i]
		}
	}
	return true
}

// version asks utmctl, or, before 5.0, the system, which version of UTM this is.
// It asks once.
func (d *driver) version(ctx context.Context) (version, error) {
	d.mu.Lock()
	known := d.found
	d.mu.Unlock()
	if known != (version{}) {
		return known, nil
	}
	text, err := d.ask(ctx)
	if err != nil {
		return version{}, err
	}
	_, written, err := cli.FindVersion(text)
	if err != nil {
		return version{}, fmt.Errorf("utmctl %w", err)
	}
	var v version
	v.parse(written)
	d.mu.Lock()
	d.found = v
	d.mu.Unlock()
	return v, nil
}

// usage is how utmctl exits when it does not know a word.
const usage = 64

func (d *driver) ask(ctx context.Context) (string, error) {
	r, err := d.run(ctx, "version")
	if r.Exit != usage {
		return r.Text(), err
	}
	return d.script(ctx, "version")
}
