package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"assay/engine"
)

// A check is one thing that a host needs, and what was found.
type check struct {
	Name     string   `json:"name"`
	State    state    `json:"state"`
	Found    string   `json:"found"`         // in one line
	Fix      string   `json:"fix,omitempty"` // the next command to type
	Packages []string `json:"packages,omitempty"`
	Why      string   `json:"why,omitempty"` // what the packages are for

	Driver *driverReport `json:"driver,omitempty"` // of checks of drivers
}

// A state is how bad a check is.
type state string

// A bad check means that assay cannot work here; what is off is not there, and
// nothing misses it.
const (
	good state = "ok"
	warn state = "warn"
	bad  state = "bad"
	off  state = "off"
)

func (a *app) doctorCommand() *cobra.Command {
	var fix, asJSON, try bool
	var driver, image string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host lacks, and mend it",
		Long: `Look at what this host has: processors and their virtualisation, memory, disk,
network, hypervisors, tools, images, results. Of each hypervisor it says whether it
can be used, why not and what to do; of those that can, whether assay's driver has
met the real one or is known by stand-ins and transcripts only. docs/drivers.md says
that of all. With --fix what is missing is installed with apt-get, as root or with sudo;
where neither is possible the command to type is printed. With --try a machine is
made, and what tests do is done in it.

Common troubles: a launch that asks for more than the host has says what would fit,
and "assay run --fit" takes it. Files go into machines over the agent's line and not
over ssh, so that no network and no sftp is needed; docs/drivers.md says how the
line comes about on each hypervisor, and what to do where it does not.

Exit codes: 0 assay can work here, 2 the command line is wrong, 3 it cannot.`,
		Example: `  assay doctor
  assay doctor --fix
  assay doctor --try --driver libvirt
  assay doctor --json`,
		Args: operands(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.tried(c, driver, try); err != nil {
				return err
			}
			checks := a.examine(c.Context())
			if fix {
				if err := a.fix(c.Context(), checks); err != nil {
					return err
				}
				checks = a.examine(c.Context())
			}
			if try {
				checks = append(checks, a.try(c.Context(), image, driver)...)
			}
			if err := a.printChecks(checks, asJSON); err != nil {
				return err
			}
			if slices.ContainsFunc(checks, func(c check) bool { return c.State == bad }) {
				return &exitError{exitInfra}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "install what is missing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&try, "try", false, "make a machine, run a command in it, copy a file in and out, save it and go back")
	c.Flags().Var((*driverFlag)(&driver), "driver", "hypervisor `NAME` to try")
	c.Flags().StringVar(&image, "image", engine.DefaultImage, "image to try it with")
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	must(c.RegisterFlagCompletionFunc("image", a.completeImages))
	return c
}

// tried checks the flag that says which driver is tried.
func (a *app) tried(c *cobra.Command, driver string, try bool) error {
	if !c.Flags().Changed("driver") {
		return nil
	}
	if err := a.flagDriver(driver); err != nil {
		return err
	}
	if !try {
		return usagef("assay doctor --try --driver "+driver, "doctor: got --driver without --try, want both")
	}
	return nil
}

func (a *app) printChecks(checks []check, asJSON bool) error {
	if asJSON {
		return a.printJSON(checks)
	}
	_, colour := screen(a.stdout)
	for _, c := range checks {
		a.printf("%s  %-14s %s\n", mark(c.State, colour), c.Name, oneLine(c.Found, 300))
		if c.Fix != "" {
			a.printf("      %-14s → %s\n", "", clean(c.Fix))
		}
	}
	return nil
}

func mark(s state, colour bool) string {
	text := fmt.Sprintf("%-4s", s)
	if !colour {
		return text
	}
	return map[state]string{good: "\x1b[32m", warn: "\x1b[33m", bad: "\x1b[31m", off: "\x1b[2m"}[s] + text + "\x1b[0m"
}

// fix installs the packages that checks miss.
func (a *app) fix(ctx context.Context, checks []check) error {
	var packages []string
	for _, c := range checks {
		for _, p := range c.Packages {
			if (c.State == bad || c.State == warn) && !slices.Contains(packages, p) {
				packages = append(packages, p)
				a.note("missing: %s, for %s", p, c.Why)
			}
		}
	}
	if len(packages) == 0 {
		return nil
	}
	for _, step := range [][]string{{"update", "-q"}, slices.Concat([]string{"install", "-y", "-q", "--no-install-recommends"}, packages)} {
		argv, ok := asRoot(append([]string{"apt-get"}, step...))
		if !ok {
			a.note("this needs root; type:\n  sudo apt-get update && sudo %s", installCommand(packages))
			return nil
		}
		a.note("running: %s", strings.Join(argv, " "))
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = a.stderr, a.stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("doctor: %s: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}

func installCommand(packages []string) string {
	return "apt-get install -y --no-install-recommends " + strings.Join(packages, " ")
}

// asRoot is how a command is run as root; ok is false if it cannot be, or there
// is no such command.
func asRoot(argv []string) (_ []string, ok bool) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, false
	}
	if os.Geteuid() == 0 {
		return argv, true
	}
	if exec.Command("sudo", "-n", "true").Run() == nil {
		return append([]string{"sudo", "-n", "DEBIAN_FRONTEND=noninteractive"}, argv...), true
	}
	return nil, false
}
