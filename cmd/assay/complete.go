package main

import (
	"github.com/spf13/cobra"

	"assay/images"
	"assay/results"
)

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that makes your shell complete assay's words",
		Example: `  assay completion bash > /etc/bash_completion.d/assay
  assay completion zsh > "${fpath[1]}/_assay"
  assay completion fish > ~/.config/fish/completions/assay.fish`,
		Args:              operands(1, 1, "bash, zsh, fish or powershell"),
		ValidArgsFunction: words("bash", "zsh", "fish", "powershell"),
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usagef("", "completion: got %q, want bash, zsh, fish or powershell", args[0])
		},
	}
}

// A completer proposes words to a shell.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// words proposes fixed words.
func words(all ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeDrivers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return driverNames(a.drivers()), cobra.ShellCompDirectiveNoFileComp
}

// completeImages proposes all images that can be had.
func (a *app) completeImages(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return a.completeEntries(func(images.Entry) bool { return true })
}

// completeHere proposes the images that are here, if only to be removed.
func (a *app) completeHere(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return a.completeEntries(func(e images.Entry) bool { return e.Present || e.Problem != "" })
}

func (a *app) completeEntries(which func(images.Entry) bool) ([]string, cobra.ShellCompDirective) {
	store, err := a.store()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	entries, err := store.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, e := range entries {
		if which(e) {
			names = append(names, e.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeRuns proposes the newest runs.
func (a *app) completeRuns(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []string{"last"}
	err := a.withDB(func(db *results.DB) error {
		runs, err := db.Runs(50, results.RunFilter{})
		for _, r := range runs {
			names = append(names, r.ID)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
