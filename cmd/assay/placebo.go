package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"assay"
	"assay/capture"
	"assay/engine"
	"assay/results"
)

// The scripts of "assay placebo": the first learns, the second tries what was learnt.
var (
	//go:embed placebo.star
	placeboScript []byte
	//go:embed nothing.star
	nothingScript []byte
)

// placeboFlags are the flags of "assay placebo".
type placeboFlags struct {
	driver  string
	runs    int
	seconds int
	jobs    int
	json    bool
}

// A placeboResult is what "assay placebo" tells of one image.
type placeboResult struct {
	imageNoise
	Failed  int          `json:"failed"`  // machines that broke and tell nothing
	Unknown int          `json:"unknown"` // placebos in which something changed that no other one saw
	Nothing *assay.Grade `json:"nothing"` // of a run that did nothing; null if it broke
	Changes int          `json:"changes"` // that it was blamed for
	LeftOut int          `json:"left_out"`
}

func (a *app) placeboCommand() *cobra.Command {
	var f placeboFlags
	c := &cobra.Command{
		Use:   "placebo IMAGE…",
		Short: "Find out what machines of an image do by themselves",
		Long: `Let machines of an image do nothing, remember what changed in them all the same,
and try whether a run that does nothing comes out clean. From then on every diff
leaves that out. "assay run" does so by itself where too little is known; this
command learns more: what happens rarely, or late. "assay noise" shows what is known.

Exit codes: 0 clean, 1 a run that did nothing was blamed for something, 2 the command
line is wrong, 3 the infrastructure broke, 4 interrupted.`,
		Example: `  assay placebo debian-12
  assay placebo 'debian-1*' --runs 5 --seconds 300 -j 4`,
		Args:              operands(1, -1, "the IMAGE that should do nothing"),
		ValidArgsFunction: a.completeImages,
		RunE:              func(c *cobra.Command, args []string) error { return a.placebo(c.Context(), f, args) },
	}
	fl := c.Flags()
	fl.Var((*driverFlag)(&f.driver), "driver", "hypervisor `NAME` to run on")
	fl.IntVar(&f.runs, "runs", 20, "how many machines do nothing, of each image")
	fl.IntVar(&f.seconds, "seconds", 30, "for how long")
	fl.IntVarP(&f.jobs, "jobs", "j", 0, "how many at a time (default: as many as the host has processors)")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	a.dbFlag(c)
	return c
}

// The bounds of "assay placebo".
const (
	maxRuns    = 1000
	maxSeconds = 24 * 3600
)

// placebo is the command.
func (a *app) placebo(ctx context.Context, f placeboFlags, images []string) error {
	if f.runs < 1 || f.runs > maxRuns || f.seconds < 1 || f.seconds > maxSeconds || f.jobs < 0 {
		return usagef("", "placebo: got %d runs of %d seconds, %d at a time; want 1 to %d of 1 to %d, and nothing below 0", f.runs, f.seconds, f.jobs, maxRuns, maxSeconds)
	}
	if f.driver != "" {
		if _, err := a.driver(ctx, f.driver); err != nil {
			return err
		}
	}
	db, err := results.Open(a.dbPath())
	if err != nil {
		return err
	}
	defer db.Close()
	learnt, err := a.idle(ctx, f, db, images, "placebo.star", placeboScript)
	if err != nil {
		return err
	}
	tried, err := a.idle(ctx, f, db, images, "nothing.star", nothingScript)
	if err != nil {
		return err
	}
	list, err := placeboResults(ctx, db, learnt, tried)
	if err != nil {
		return err
	}
	if f.json {
		err = a.printJSON(list)
	} else {
		err = a.sayPlacebo(list)
	}
	if code := placeboCode(list); err == nil && code != exitPass {
		return &exitError{code}
	}
	return err
}

// idle runs one of the scripts.
func (a *app) idle(ctx context.Context, f placeboFlags, db *results.DB, images []string, name string, script []byte) (assay.Run, error) {
	dir, err := os.MkdirTemp("", "assay-placebo-")
	if err != nil {
		return assay.Run{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, script, 0o600); err != nil {
		return assay.Run{}, err
	}
	env, err := a.env()
	if err != nil {
		return assay.Run{}, err
	}
	opt := engine.Options{Scripts: []string{path}, Images: images, Driver: f.driver, Jobs: f.jobs, Command: os.Args,
		Timeout: engine.DefaultTimeout + 2*secondsOf(float64(f.seconds)), Placebo: engine.PlaceboNever,
		Params: map[string]string{"count": strconv.Itoa(f.runs), "seconds": strconv.Itoa(f.seconds)}}
	if opt.Child, err = childCommand(a.db); err != nil {
		return assay.Run{}, err
	}
	cells, err := engine.Plan(ctx, env, opt)
	if err == nil {
		err = a.prepareImages(ctx, env, cells, false)
	}
	if err != nil {
		return assay.Run{}, err
	}
	v := a.newView(false)
	defer v.close()
	return engine.Run(ctx, env, opt, db, v.event)
}

// placeboResults tells, for each image, what was learnt and how the try went.
func placeboResults(ctx context.Context, db *results.DB, learnt, tried assay.Run) ([]placeboResult, error) {
	list := []placeboResult{}
	for _, c := range tried.Cells {
		r := placeboResult{imageNoise: imageNoise{PlaceboImage: results.PlaceboImage{Name: c.Image}, Noise: []capture.Idle{}}}
		if len(c.Grades) == 1 && c.Verdict != assay.Error {
			r.Nothing, r.Changes, r.LeftOut = &c.Grades[0], len(c.Diffs[0].Changes), len(c.Diffs[0].Noise)
		}
		for _, l := range learnt.Cells {
			if l.Image == c.Image && len(l.Placebos) == 0 {
				r.Failed++
			}
		}
		if err := r.know(ctx, db, learnt); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// know fills in what the results know of the image by now.
func (r *placeboResult) know(ctx context.Context, db *results.DB, learnt assay.Run) error {
	digest := ""
	for _, c := range learnt.Cells {
		if c.Image == r.Name && len(c.Placebos) > 0 {
			digest = c.Placebos[0].Image
		}
	}
	if digest == "" {
		return nil
	}
	all, err := noiseOf(ctx, db, []string{r.Name}, nil)
	for _, i := range all {
		if i.Digest == digest {
			r.imageNoise = i
		}
	}
	if err != nil {
		return err
	}
	placebos, _, err := db.Placebos(ctx, results.PlaceboFilter{Image: digest, Limit: maxPlacebos})
	for i, p := range placebos {
		others := append(placebos[:i:i], placebos[i+1:]...)
		if kept, _ := capture.NewNoise(others).Subtract(p.Changes, p.Seconds); len(kept) > 0 {
			r.Unknown++
		}
	}
	return err
}

// sayPlacebo prints the results for a person.
func (a *app) sayPlacebo(list []placeboResult) error {
	var errs []error
	for _, r := range list {
		if r.Placebos > 0 {
			errs = append(errs, a.sayNoise([]imageNoise{r.imageNoise}))
		}
		if r.Failed > 0 {
			a.printf("  %s broke and tell nothing; \"assay history\" has the runs\n", plural(r.Failed, "machine"))
		}
		if r.Unknown > 0 {
			a.printf("  in %d of %s something changed that no other one did: more may be left to learn\n", r.Unknown, plural(r.Placebos, "placebo"))
		}
		a.printf("  %s\n", r.told())
	}
	return errors.Join(errs...)
}

// told says how a run went that did nothing.
func (r placeboResult) told() string {
	if r.Nothing == nil {
		return "a run that does nothing: broke; \"assay show last\" says why"
	}
	return fmt.Sprintf("a run that does nothing: grade %s, %s, %s, %d left out as noise", r.Nothing.Letter,
		plural(len(r.Nothing.Findings), "finding"), plural(r.Changes, "change"), r.LeftOut)
}

// placeboCode is the exit code.
func placeboCode(list []placeboResult) int {
	code := exitPass
	for _, r := range list {
		switch {
		case r.Nothing == nil || r.Placebos == 0:
			return exitInfra
		case len(r.Nothing.Findings) > 0 || r.Changes > 0:
			code = exitFail
		}
	}
	return code
}
