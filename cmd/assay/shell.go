package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"assay/builtins"
	"assay/engine"
	"assay/guest"
	"assay/vm"
)

func (a *app) shellCommand() *cobra.Command {
	var driver, user string
	var memory, cpus int
	c := &cobra.Command{
		Use:   "shell MACHINE|IMAGE [-- COMMAND…]",
		Short: "Open a shell in a live machine, or in a fresh one of an image",
		Long: `Open a shell. MACHINE is a machine of a run that is under way or was kept
("assay ps" lists them). IMAGE gets a fresh machine that is gone afterwards.`,
		Example: `  assay shell debian-12
  assay shell debian-12 -- uname -a
  assay shell fake-0-one-1                # a machine that "assay ps" lists`,
		Args: operands(1, -1, "a MACHINE or an IMAGE"),
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			names, d := a.completeHere(c, args, prefix)
			for _, l := range engine.LiveMachines(a.home) {
				if l.Starting == "" {
					names = append(names, l.ID)
				}
			}
			return names, d
		},
		RunE: func(c *cobra.Command, args []string) error {
			cmd := guest.Command{Argv: args[1:], User: user}
			if live, ok := a.liveMachine(args[0]); ok {
				return a.shellLive(c.Context(), live, cmd)
			}
			return a.shellFresh(c.Context(), args[0], driver, vm.Spec{CPUs: cpus, Memory: int64(memory) << 20}, cmd)
		},
	}
	c.Flags().Var((*driverFlag)(&driver), "driver", "hypervisor `NAME` for a fresh machine")
	c.Flags().StringVar(&user, "user", "", "who to be in the guest (default: its test user)")
	c.Flags().IntVar(&memory, "memory", 512, "memory of a fresh machine, `MIB`")
	c.Flags().IntVar(&cpus, "cpus", 1, "processors of a fresh machine")
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	return c
}

// liveMachine finds a live machine by its id or name.
func (a *app) liveMachine(name string) (engine.Live, bool) {
	for _, l := range engine.LiveMachines(a.home) {
		if l.Starting == "" && (l.ID == name || l.Name == name) {
			return l, true
		}
	}
	return engine.Live{}, false
}

func (a *app) shellLive(ctx context.Context, l engine.Live, cmd guest.Command) error {
	c, err := builtins.DialShell(ctx, l)
	if err != nil {
		return err
	}
	defer c.Close()
	return a.attach(ctx, c, cmd)
}

// shellFresh opens a shell in a machine made for it.
func (a *app) shellFresh(ctx context.Context, image, driver string, spec vm.Spec, cmd guest.Command) (err error) {
	d, err := a.usableDriver(ctx, driver)
	if err != nil {
		return err
	}
	m, err := a.fresh(ctx, image, d, spec)
	defer func() {
		if closeErr := m.Close(); err == nil {
			err = closeErr
		}
	}()
	if err != nil {
		return err
	}
	return a.attach(ctx, m.client, cmd)
}

// attach runs a command in a guest, on this terminal if there is one. Its exit
// code becomes the program's.
func (a *app) attach(ctx context.Context, c *guest.Client, cmd guest.Command) error {
	in, ok := a.stdin.(*os.File)
	tty := ok && term.IsTerminal(int(in.Fd()))
	if len(cmd.Argv) == 0 {
		cmd.Argv = []string{"bash", "-l"}
		if !tty {
			cmd.Argv = []string{"bash"}
		}
	}
	var exit guest.Exit
	var err error
	if tty {
		exit, err = a.terminal(ctx, c, cmd, in)
	} else {
		exit, err = c.Exec(ctx, cmd, a.stdin, a.stdout, a.stderr)
	}
	switch {
	case errors.Is(err, guest.ErrUser):
		return usagef("", "shell: %w", err)
	case err != nil:
		return fmt.Errorf("shell: %s: %w", strings.Join(cmd.Argv, " "), err)
	case exit.Signal != "":
		return fmt.Errorf("shell: %s: ended by %s", strings.Join(cmd.Argv, " "), exit.Signal)
	case exit.Code != 0:
		return &exitError{exit.Code}
	}
	return nil
}

// terminal connects this terminal, in raw mode, with one in the guest.
func (a *app) terminal(ctx context.Context, c *guest.Client, cmd guest.Command, in *os.File) (guest.Exit, error) {
	fd := int(in.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return guest.Exit{}, err
	}
	defer term.Restore(fd, old)
	size := func() guest.Size {
		cols, rows, err := term.GetSize(fd)
		if err != nil {
			return guest.Size{Rows: 24, Cols: 80}
		}
		return guest.Size{Rows: uint16(rows), Cols: uint16(cols)}
	}
	now := size()
	cmd.TTY = &now
	if cmd.Env == nil {
		cmd.Env = map[string]string{"TERM": os.Getenv("TERM")}
	}
	sizes, stop := watchSize(size)
	defer stop()
	return c.Terminal(ctx, cmd, in, a.stdout, sizes)
}
