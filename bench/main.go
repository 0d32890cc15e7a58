//go:build linux

// Bench compares assay with the tools that people use in its place, on the same
// image and the same machine, in one run: "make bench".
//
// Every figure is a ratio to assay's own as well, because absolute ones belong
// to one host and one hour. Contestants take turns, so that whatever else the
// host does hits all alike. Being slow is never a failure; a contestant that
// could not be measured is one.
//
// It knows the other tools' command lines, and assay as a user has it: its
// command and its scripts' step times. Only what a script cannot say, ten
// machines at one moment and their memory, it asks of the rooms. It does not
// know how any of assay's speed comes about.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"assay/images"
)

// The exit codes.
const (
	exitMissing = 1 // somebody could not be measured
	exitUsage   = 2
	exitBroken  = 3 // nothing could be measured
)

// options are the flags.
type options struct {
	only        string
	against     string
	n           int
	json        bool
	list        bool
	install     bool
	skipMissing bool
	assay       string
	agent       string
	home        string
	db          string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	home := filepath.Dir(images.DefaultDir())
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.only, "only", "", "measure only these `SUBJECTS`, separated by commas; see -list")
	f.StringVar(&o.against, "against", "", "beside assay only contestants whose name has this `WORD` in it")
	f.IntVar(&o.n, "n", 0, "repetitions of each contestant (default: each subject's own)")
	f.BoolVar(&o.json, "json", false, "print JSON, every repetition included")
	f.BoolVar(&o.list, "list", false, "only say what is measured, and of whom")
	f.BoolVar(&o.install, "install", false, "install the contestants' Debian packages that are missing")
	f.BoolVar(&o.skipMissing, "skip-missing", false, "do not fail when a contestant cannot be measured")
	f.StringVar(&o.assay, "assay", "bin/assay", "the assay that is measured")
	f.StringVar(&o.agent, "agent", "cmd/assay/agent/assay-agent-amd64", "the agent that goes into the image")
	f.StringVar(&o.home, "home", home, "assay's state `FOLDER`")
	f.StringVar(&o.db, "db", "", "results go to this `FILE`; none: nowhere (default: results.db in the state folder)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("got the operands %q, want none; -only %s chooses subjects", f.Args(), f.Arg(0))
	}
	if o.n < 0 {
		return o, fmt.Errorf("for -n: got %d, want at least 1", o.n)
	}
	o.db = cmp.Or(o.db, filepath.Join(o.home, "results.db"))
	return o, nil
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var chosen []Subject
	if err == nil {
		chosen, err = choose(subjects(), o.only, o.against)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	case o.list:
		list(stdout, chosen)
		return 0
	}
	report, err := measure(ctx, o, chosen, stderr)
	if err == nil {
		err = report.print(stdout, o.json)
	}
	if err == nil && o.db != "none" {
		err = record(o.db, report)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitBroken
	case report.missing() && !o.skipMissing:
		return exitMissing
	}
	return 0
}

// measure prepares the stage, measures, and leaves nothing running.
func measure(ctx context.Context, o options, chosen []Subject, stderr io.Writer) (r Report, err error) {
	if o.install {
		if err := installPackages(ctx, stderr); err != nil {
			return r, err
		}
	}
	st, err := newStage(o, func(line string) { fmt.Fprintln(stderr, line) })
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if err := st.prepare(ctx, chosen); err != nil {
		return r, err
	}
	return st.perform(ctx, chosen, o.n)
}

// choose returns the subjects that are asked for, in their own order, with the
// contestants that are asked for and the one that all are compared with.
func choose(all []Subject, only, against string) ([]Subject, error) {
	wanted := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	for _, w := range wanted {
		if !slices.ContainsFunc(all, func(s Subject) bool { return s.Name == w }) {
			return nil, fmt.Errorf("for -only: got %q, want some of %s", w, names(all))
		}
	}
	var chosen []Subject
	for _, s := range all {
		if len(wanted) == 0 || slices.Contains(wanted, s.Name) {
			s.Contestants = slices.Concat(s.Contestants[:1], matching(s.Contestants[1:], against))
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

func names(list []Subject) string {
	var words []string
	for _, s := range list {
		words = append(words, s.Name)
	}
	return strings.Join(words, ",")
}

func matching(list []Contestant, word string) (found []Contestant) {
	for _, c := range list {
		if strings.Contains(c.Name, word) {
			found = append(found, c)
		}
	}
	return found
}

// list says what would be measured.
func list(w io.Writer, chosen []Subject) {
	for _, s := range chosen {
		fmt.Fprintln(w, s.Name)
		for _, m := range s.Measures {
			fmt.Fprintf(w, "  %s: %s, in %s\n", m.Name, m.Title, m.Unit)
		}
		for _, c := range s.Contestants {
			fmt.Fprintf(w, "    %s (%d times): %s\n", c.Name, c.reps(s.Reps), c.What)
		}
	}
}
