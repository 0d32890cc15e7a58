package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot returns the command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Run untrusted software in a throw-away VM, see what it did, grade it, remember",
		Long: `assay runs software that nobody trusts in a throw-away virtual machine, records
what it did to that machine, grades it, and remembers.

` + exitHelp,
		Example: `  assay doctor --fix                      # what does this host lack?
  assay run scripts/skill.star -p skill=DIR
  assay show last`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownCommand(c, args[0])
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef(hint(c), "%s: %w", c.Name(), badValue(err))
	})
	root.AddGroup(&cobra.Group{ID: "work", Title: "Work:"}, &cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "host", Title: "This host:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("work", a.runCommand(), a.placeboCommand(), a.initCommand(), a.docCommand(), a.shellCommand())
	add("look", a.historyCommand(), a.showCommand(), a.reportCommand(), a.trendCommand(), a.noiseCommand(), a.queryCommand())
	add("host", a.doctorCommand(), a.imageCommand(), a.psCommand(), a.gcCommand(), a.versionCommand(), a.completionCommand())
	root.AddCommand(a.childCommand())
	root.SetHelpCommandGroupID("host")
	return root
}

// unknownCommand says which command was probably meant.
func unknownCommand(c *cobra.Command, got string) error {
	c.SuggestionsMinimumDistance = 2 // letters that differ
	if near := c.SuggestionsFor(got); len(near) > 0 {
		return usagef("did you mean \""+c.CommandPath()+" "+near[0]+"\"?", "got %q, want a command", got)
	}
	return usagef("run \""+c.CommandPath()+" -h\" for the commands", "got %q, want a command", got)
}

// badValue says of a flag's value what was got and what is wanted; other errors
// it returns as they are.
func badValue(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	f := bad.GetFlag()
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	want := map[string]string{"int": "a whole number, such as 2", "bool": "true or false", "duration": "a time, such as 90s, 5m or 2h"}[f.Value.Type()]
	if want == "" {
		return err
	}
	return fmt.Errorf("for %s: got %q, want %s", name, bad.GetValue(), want)
}

// hint points to a command's help.
func hint(c *cobra.Command) string {
	return fmt.Sprintf("run %q for an example", c.CommandPath()+" -h")
}

// operands checks how many operands a command got. max -1 means any number.
func operands(min, max int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= min && (max < 0 || len(args) <= max) {
			return nil
		}
		got := "nothing"
		if len(args) > 0 {
			got = strings.Join(args, " ")
		}
		if names == "" {
			names = "no operand"
		}
		return usagef(hint(c), "%s: got %s, want %s", c.Name(), got, names)
	}
}

// oneOf checks a flag's word.
func oneOf(command, flag, got string, want ...string) error {
	for _, w := range want {
		if got == w {
			return nil
		}
	}
	return usagef("", "%s: for --%s: got %q, want one of %s", command, flag, got, strings.Join(want, ", "))
}
