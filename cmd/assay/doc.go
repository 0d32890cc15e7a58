package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"assay"
	"assay/builtins"
	"assay/engine"
	"assay/scripts"
)

func (a *app) docCommand() *cobra.Command {
	var stub, reference, drivers bool
	c := &cobra.Command{
		Use:   "doc [VERB]",
		Short: "Explain a verb of scripts, or list them all",
		Example: `  assay doc
  assay doc launch
  assay doc --stub > assay.pyi            # for editors that complete`,
		Args: operands(0, 1, "at most one VERB"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return verbNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case stub:
				a.printf("%s", engine.Stub(builtins.All(), builtins.Types()...))
			case reference:
				a.printf("%s", engine.Reference(builtins.All(), builtins.Types()...))
			case drivers:
				page, err := driversPage(a.drivers())
				if err != nil {
					return err
				}
				a.printf("%s", page)
			case len(args) == 0:
				for _, b := range builtins.All() {
					a.printf("%s\n", b.Signature())
				}
				a.note("\"assay doc VERB\" explains one")
			default:
				return a.explain(args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVar(&stub, "stub", false, "print a typed stub for editors")
	c.Flags().BoolVar(&reference, "reference", false, "print the whole reference, in Markdown")
	c.Flags().BoolVar(&drivers, "drivers", false, "print what the drivers can do, in Markdown")
	return c
}

func verbNames() []string {
	var names []string
	for _, b := range builtins.All() {
		names = append(names, b.Name)
	}
	return names
}

func (a *app) explain(verb string) error {
	text, ok, near := engine.Doc(verb, builtins.All(), builtins.Types()...)
	switch {
	case ok:
		a.printf("%s", text)
		return nil
	case near != "":
		return usagef("did you mean \"assay doc "+near+"\"?", "doc: got %q, want a verb or a type", verb)
	}
	return usagef("\"assay doc\" lists the verbs", "doc: got %q, want a verb or a type", verb)
}

// starter is the name of the script that "assay init" writes.
const starter = "assay.star"

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a script to start from",
		Example: `  assay init
  assay init tests && assay run tests/` + starter,
		Args: operands(0, 1, "at most one DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return a.writeStarter(filepath.Join(dir, starter))
		},
	}
}

func (a *app) writeStarter(file string) error {
	text, err := scripts.FS.ReadFile("_template.star")
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return usagef("", "init: %w", err)
	}
	w, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usagef("", "init: %s: it exists already, and is left as it is", file)
	}
	if err != nil {
		return usagef("", "init: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		w.Close()
		return fmt.Errorf("init: %w", err)
	}
	a.printf("wrote %s\n", file)
	a.note("next: assay run %s", file)
	return w.Close()
}

// A versionInfo is what "assay version --json" prints.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Agent   int    `json:"agent_bytes"` // 0: built without one
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: `  assay version --json`,
		Args:    operands(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			data, _ := agent() // without one its size is 0
			v := versionInfo{assay.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, len(data)}
			if asJSON {
				return a.printJSON(v)
			}
			a.printf("assay %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
