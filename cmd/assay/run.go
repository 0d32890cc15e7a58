package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay"
	"assay/engine"
	"assay/report"
	"assay/results"
)

// runFlags are the flags of "assay run".
type runFlags struct {
	planFlags
	images   []string
	variants []string
	driver   string
	params   []string
	jobs     int
	keep     string
	failOn   string
	json     bool
	out      string
	timeout  time.Duration
	noBuild  bool
	placebo  string
	fit      bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run SCRIPT|DIR…",
		Short: "Run scripts, each test on each image, and grade what happened",
		Long: `Run scripts. Every test of a script runs once for each image and variant, in
machines of its own that are gone afterwards. Images that are not there yet are
built first. Results go into the database, reports into a folder.

The tests that took longest start first, new ones before them; reports keep the
scripts' order. A test failed if its verdict was fail or error. After --maxfail
failures, -x being one, tests that are under way go on to their end and the others
are skipped. Without --driver and without a word of the script's, tests run on
$ASSAY_DRIVER, else on the driver of config.toml in the state folder, else on the
first hypervisor that can be used here. config.toml may also settle fail-on, fit,
jobs, keep, no-build, placebo and timeout, as in: driver = "lima".

--shard deals the tests by their names, whatever is known of them: of the same
scripts, images and flags each test is in one part; that all parts name their
split alike proves it. --lf and --ff choose within the part. A part with no tests
is no failure.

` + exitHelp,
		Example: `  assay run scripts/skill.star -p skill=~/.claude/skills/demo
  assay run scripts/skill.star --image 'debian-1*' -p skill=DIR --fail-on B
  assay run tests/ -k network -j 2 --keep failed
  assay run tests/ --lf -x
  assay run tests/ --shard 1/3`,
		Args: operands(1, -1, "SCRIPT or DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.settle(c); err != nil {
				return err
			}
			return a.run(c.Context(), f, args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.images, "image", nil, "images to run on, with `GLOB`s, instead of the script's")
	fl.StringSliceVar(&f.variants, "variant", nil, "run only these of the script's variants")
	fl.Var((*driverFlag)(&f.driver), "driver", "hypervisor `NAME` to run on, instead of the script's (default: $ASSAY_DRIVER, config.toml, or the first that can be used)")
	fl.StringArrayVarP(&f.params, "param", "p", nil, "a parameter of the script, as `KEY=VALUE`; may be given again")
	fl.IntVarP(&f.jobs, "jobs", "j", 0, "how many tests at a time (default: as many as the host has processors)")
	fl.StringVar(&f.keep, "keep", "never", "whose machines stay until you press Enter: never, failed or always")
	fl.StringVar(&f.failOn, "fail-on", "", "exit with 1 if a grade is worse than this letter, or a finding as bad as this `SEVERITY`")
	fl.BoolVar(&f.json, "json", false, "print every event as a line of JSON")
	fl.StringVar(&a.db, "db", "", "`FILE` of the results (default: results.db in the state folder)")
	fl.StringVar(&f.out, "out", "", "`DIR` for the reports (default: in the state folder)")
	fl.DurationVar(&f.timeout, "timeout", 0, "how long each test may take (default 30m)")
	fl.BoolVar(&f.noBuild, "no-build", false, "do not build images that are missing")
	fl.StringVar(&f.placebo, "placebo", "auto", "when a machine gets a twin that does nothing, to tell noise: auto (when too little is known of its image), always or never")
	fl.BoolVar(&f.fit, "fit", false, "give machines less than they ask for where the host has not as much")
	f.planFlags.add(c)
	must(c.RegisterFlagCompletionFunc("image", a.completeImages))
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	must(c.RegisterFlagCompletionFunc("keep", words("never", "failed", "always")))
	must(c.RegisterFlagCompletionFunc("placebo", words("auto", "always", "never")))
	must(c.RegisterFlagCompletionFunc("fail-on", words("A", "B", "C", "D", "CRITICAL", "HIGH", "MEDIUM", "LOW", "INFO")))
	return c
}

// options checks the flags and makes the engine's options of them.
func (f runFlags) options(scripts []string) (engine.Options, threshold, error) {
	opt := engine.Options{
		RunID: engine.NewRunID(), Scripts: scripts, Images: f.images, Variants: f.variants, Driver: f.driver,
		Params: map[string]string{}, Jobs: f.jobs, Keep: engine.Keep(f.keep), Timeout: f.timeout,
		Command: os.Args, Placebo: engine.PlaceboPolicy(f.placebo), Fit: f.fit,
	}
	for _, p := range f.params {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return opt, threshold{}, usagef("", "run: for -p: got %q, want KEY=VALUE", p)
		}
		opt.Params[key] = value
	}
	if err := f.planFlags.options(&opt); err != nil {
		return opt, threshold{}, err
	}
	if f.jobs < 0 || f.timeout < 0 {
		return opt, threshold{}, usagef("", "run: for --jobs and --timeout: got %d and %v, want nothing below 0", f.jobs, f.timeout)
	}
	if err := oneOf("run", "keep", f.keep, "never", "failed", "always"); err != nil {
		return opt, threshold{}, err
	}
	if err := oneOf("run", "placebo", f.placebo, "auto", "always", "never"); err != nil {
		return opt, threshold{}, err
	}
	t, err := parseThreshold(f.failOn)
	return opt, t, err
}

// parseThreshold reads the value of --fail-on.
func parseThreshold(s string) (threshold, error) {
	up := strings.ToUpper(s)
	switch {
	case s == "":
		return threshold{}, nil
	case len(up) == 1 && strings.Contains("ABCDF", up):
		return threshold{letter: up}, nil
	case slices.Contains(assay.Severities, assay.Severity(up)):
		return threshold{severity: assay.Severity(up)}, nil
	}
	return threshold{}, usagef("", "run: for --fail-on: got %q, want a letter from A to F, or CRITICAL, HIGH, MEDIUM, LOW or INFO", s)
}

// run is the command.
func (a *app) run(ctx context.Context, f runFlags, scripts []string) error {
	opt, limit, err := f.options(scripts)
	if err != nil {
		return err
	}
	if f.driver != "" {
		if _, err := a.driver(ctx, f.driver); err != nil {
			return err
		}
	}
	env, err := a.env()
	if err != nil {
		return err
	}
	if opt.Child, err = childCommand(a.db); err != nil {
		return err
	}
	v := a.newView(f.json)
	defer v.close()
	env.OnKeep, env.History = v.onKeep(a.stdin), a.past
	work, err := engine.Prepare(ctx, env, opt)
	if err != nil {
		return err
	}
	if f.show {
		return a.printPlan(work, f.json)
	}
	db, err := results.Open(a.dbPath())
	if err != nil {
		return err
	}
	defer db.Close()
	if err := a.sweepDead(ctx, env.Drivers, db); err != nil {
		a.note("assay: %v", err)
	}
	a.tellPlan(work)
	if len(work.Cells()) == 0 {
		return nil // a shard may be empty
	}
	if err := a.prepareImages(ctx, env, work.Cells(), f.noBuild); err != nil {
		return err
	}
	return a.runCells(ctx, work, v, db, f, limit)
}

// runCells runs what is planned, shows it while it goes on, and writes the reports.
func (a *app) runCells(ctx context.Context, work *engine.Work, v *view, db *results.DB, f runFlags, limit threshold) error {
	run, err := work.Run(ctx, db, v.event)
	v.close()
	if run.ID == "" || len(run.Cells) == 0 {
		return err
	}
	for _, p := range work.Unread() {
		a.note("assay: -p %s: no script asked for a parameter of that name", p)
	}
	out := f.out
	if out == "" {
		out = filepath.Join(a.home, "runs", run.ID)
	}
	files, writeErr := writeReports(out, run)
	if f.json {
		writeErr = errors.Join(writeErr, v.json.Encode(runLine{"run_end", run, files}))
	} else {
		writeErr = errors.Join(writeErr, a.summary(run, files))
	}
	if err != nil || writeErr != nil {
		return errors.Join(err, writeErr)
	}
	a.whole = true
	return a.verdict(run, limit)
}

// A runLine is the last line of "run --json".
type runLine struct {
	Kind    string    `json:"kind"`
	Run     assay.Run `json:"run"`
	Reports []string  `json:"reports"`
}

// verdict turns a run that came to its end into the exit code.
func (a *app) verdict(run assay.Run, limit threshold) error {
	code := runCode(run)
	if why := limit.reason(run); code == exitPass && why != "" {
		a.note("assay: --fail-on: %s", why)
		code = exitFail
	}
	if code == exitPass {
		return nil
	}
	return &exitError{code}
}

// writeReports writes a run down in every format and returns the files' paths.
func writeReports(dir string, run assay.Run) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var files []string
	for _, f := range report.Formats() {
		file := filepath.Join(dir, "report"+f.Ext)
		if err := writeReport(file, f, run); err != nil {
			return files, fmt.Errorf("report: %w", err)
		}
		files = append(files, file)
	}
	return files, nil
}

// writeReport writes one file, whole or not at all.
func writeReport(file string, f report.Format, run assay.Run) error {
	w, err := os.CreateTemp(filepath.Dir(file), ".report-*")
	if err != nil {
		return err
	}
	defer os.Remove(w.Name())
	if err := errors.Join(f.Render(w, run), w.Chmod(0o644), w.Close()); err != nil {
		return err
	}
	return os.Rename(w.Name(), file)
}

// summary prints how the run went, where to read on, and what to type next.
func (a *app) summary(run assay.Run, files []string) error {
	width, colour := screen(a.stdout)
	if err := report.Summary(a.stdout, run, width, colour); err != nil {
		return err
	}
	for _, file := range files {
		a.printf("report %s\n", file)
	}
	next := "assay show " + run.ID
	if a.db != "" {
		next += " --db " + a.db
	}
	a.note("next: %s", next)
	return nil
}

// childCommand is how the engine starts a process for one script.
func childCommand(db string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	argv := []string{self, "engine-child"}
	if db != "" {
		argv = append(argv, "--db", db)
	}
	return argv, nil
}

// childCommand is the other end of engine.Options.Child.
func (a *app) childCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "engine-child",
		Short:   "Evaluate one script for another assay",
		Example: "  (assay run starts it)",
		Hidden:  true,
		Args:    operands(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			env, err := a.env()
			if err != nil {
				return err
			}
			return engine.ServeChild(c.Context(), env, a.stdin, a.stdout)
		},
	}
	a.dbFlag(c)
	return c
}

// must is for mistakes of this program that its first start shows.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
