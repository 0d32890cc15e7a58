package parallels

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"assay/drivers/internal/cli"
)

// tool is one of the two commands.
func tool(command string) cli.Tool {
	return cli.Tool{
		Driver: name, Name: command, Systems: systems, Places: []string{"/usr/local/bin/" + command}, Errors: complaints,
		Fix: "brew install --cask parallels", Limit: 3 * time.Minute,
	}
}

// complaints are sentences of prlctl in English. In another language they are
// only failures; whatever depends on them is asked again of the list.
var complaints = []cli.Pattern{
	{Text: "could not be found", Kind: fs.ErrNotExist},
	{Text: "is not registered", Kind: fs.ErrNotExist},
	{Text: "already exists", Kind: fs.ErrExist},
	{Text: "Login failed", Kind: cli.ErrDaemon, Fix: "open -b com.parallels.desktop.console"},
	{Text: "Data synchronization is currently in progress", Kind: cli.ErrDaemon},
	{Text: "Unable to open new session", Kind: cli.ErrNoTools, Fix: "install Parallels Tools in the guest: prlctl installtools NAME"},
	{Text: "PrlVmGuest_RunProgram", Kind: cli.ErrNoTools},
	{Text: "PrlJob_GetRetCode", Kind: cli.ErrNoTools},
	{Text: "simultaneous logon attempts", Kind: cli.ErrNoTools},
	{Text: "is not started", Kind: cli.ErrState},
	{Text: "already started", Kind: cli.ErrState},
	{Text: "not enough disk space", Kind: cli.ErrNoSpace},
	{Text: "not enough free disk space", Kind: cli.ErrNoSpace},
	{Text: "No space left", Kind: cli.ErrNoSpace},
	{Text: "not enough memory", Kind: cli.ErrNoMemory},
}

// attempts is how often a call is made that the service cannot take just now.
const attempts = 5

// do runs prlctl, again if its service is starting or busy.
func (d *driver) do(ctx context.Context, c cli.Call) (cli.Result, error) {
	return cli.Again(ctx, attempts, d.pause, cli.ErrDaemon, func() (cli.Result, error) { return d.ctl.Do(ctx, c) })
}

// run is do for a call that is only arguments.
func (d *driver) run(ctx context.Context, args ...string) error {
	_, err := d.do(ctx, call(args...))
	return err
}

func call(args ...string) cli.Call { return cli.Call{Args: args} }

// arrival is the wait for what a command was to bring about.
func (d *driver) arrival(what string, failed error) cli.Arrival {
	return cli.Arrival{What: what, Failed: failed, Doubt: d.doubt, Limit: d.boot}
}

var versionWord = regexp.MustCompile(`prlctl version (\d+(?:\.\d+)+)`)

// version returns "26.3.2".
func (d *driver) version(ctx context.Context) (string, error) {
	r, err := d.ctl.Run(ctx, "--version")
	if err != nil {
		return "", err
	}
	m := versionWord.FindSubmatch(r.Stdout)
	if m == nil {
		return "", fmt.Errorf("prlctl --version: got %.80q, want \"prlctl version N.N.N\"", r.Text())
	}
	return string(m[1]), nil
}

// edition returns what the licence is for, such as "pro"; "" if nobody says.
func (d *driver) edition(ctx context.Context) string {
	r, err := d.srv.Run(ctx, "info", "--license", "--json")
	if err != nil {
		return "" // it is a detail
	}
	var license struct {
		Edition string `json:"edition"`
	}
	if decode(r.Stdout, &license) != nil {
		return ""
	}
	return license.Edition
}

// decode reads JSON that may have other bytes before and behind it, and control
// characters within.
func decode(data []byte, v any) error {
	from, to := bytes.IndexAny(data, "[{"), bytes.LastIndexAny(data, "]}")
	if from < 0 || to < from {
		return fmt.Errorf("got %.200q, want JSON", data)
	}
	clean := bytes.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, data[from:to+1])
	if err := json.Unmarshal(clean, v); err != nil {
		return fmt.Errorf("got %.200q: %w", clean, err)
	}
	return nil
}
