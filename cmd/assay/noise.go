package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay/capture"
	"assay/engine"
	"assay/near"
	"assay/report"
	"assay/results"
)

// maxPlacebos is how many placebos of an image make its model: the newest.
const maxPlacebos = 200

// placebos is engine.Env.Placebos: what the results know.
func (a *app) placebos(ctx context.Context, q engine.PlaceboQuery) (engine.PlaceboHistory, error) {
	var h engine.PlaceboHistory
	db, err := a.openDB()
	if nothing := (*nothingError)(nil); errors.As(err, &nothing) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	defer db.Close()
	h.Placebos, h.Newest, err = db.Placebos(ctx, results.PlaceboFilter{Image: q.Image, Scope: q.Scope, Limit: maxPlacebos})
	if err == nil {
		h.Seconds, err = db.ComparedSeconds(ctx, q.Cell)
	}
	return h, err
}

// An imageNoise is what is known of one image's idle machines.
type imageNoise struct {
	results.PlaceboImage
	Noise []capture.Idle `json:"noise"`
}

func (a *app) noiseCommand() *cobra.Command {
	var asJSON, forget bool
	c := &cobra.Command{
		Use:   "noise [IMAGE…]",
		Short: "Show what machines of an image do by themselves",
		Long: `Show what machines of an image do by themselves, as placebos showed it: twins of
machines under test that did nothing, and machines of "assay placebo". Diffs leave
that out. Names that are made up anew each time are levelled out: <hex32>, #.`,
		Example: `  assay noise debian-12
  assay noise debian-12 --forget`,
		ValidArgsFunction: a.completeHere,
		RunE: func(c *cobra.Command, args []string) error {
			if forget {
				return a.forgetNoise(c.Context(), args)
			}
			known := a.imageNames()
			err := a.withDB(func(db *results.DB) error {
				list, err := noiseOf(c.Context(), db, args, known)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(list)
				}
				return a.sayNoise(list)
			})
			if nothing := (*nothingError)(nil); errors.As(err, &nothing) {
				return cmp.Or(unknownImage(args, known), err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&forget, "forget", false, "forget what is known of the images that are named; what diffs left out stays recorded")
	a.dbFlag(c)
	return c
}

// noiseOf returns the models of the images with those names; of all for none.
// known are the images that could have one.
func noiseOf(ctx context.Context, db *results.DB, names, known []string) ([]imageNoise, error) {
	images, err := db.PlaceboImages(ctx)
	if err != nil {
		return nil, err
	}
	list := []imageNoise{}
	for _, i := range images {
		if len(names) > 0 && !slices.Contains(names, i.Name) {
			continue
		}
		placebos, _, err := db.Placebos(ctx, results.PlaceboFilter{Image: i.Digest, Limit: maxPlacebos})
		if err != nil {
			return nil, err
		}
		list = append(list, imageNoise{i, capture.NewNoise(placebos).Idles()})
	}
	for _, name := range names {
		if !slices.ContainsFunc(list, func(i imageNoise) bool { return i.Name == name }) {
			return nil, noNoise(name, images, known)
		}
	}
	return list, nil
}

// noNoise says that nothing is known of an image, or which image was meant.
func noNoise(name string, seen []results.PlaceboImage, known []string) error {
	for _, i := range seen {
		known = append(known, i.Name)
	}
	if err := unknownImage([]string{name}, known); err != nil {
		return err
	}
	return &nothingError{fmt.Sprintf("noise: %s: no placebos yet; run \"assay placebo %s\"", name, name)}
}

// unknownImage says which of the names is nobody's, if one is.
func unknownImage(names, known []string) error {
	for _, name := range names {
		word := near.Name(name, known)
		switch {
		case slices.Contains(known, name):
		case word != "":
			return usagef("", "noise: %s: unknown image; did you mean %s?", name, word)
		default:
			return usagef("\"assay image list\" shows the images", "noise: %s: unknown image, and no placebos of one", name)
		}
	}
	return nil
}

// imageNames lists the images of the store and of its catalog.
func (a *app) imageNames() []string {
	names, _ := a.completeImages(nil, nil, "")
	return names
}

// sayNoise prints models for a person.
func (a *app) sayNoise(list []imageNoise) error {
	if len(list) == 0 {
		return &nothingError{"noise: no placebos yet; \"assay run\" makes some, \"assay placebo IMAGE\" more"}
	}
	for _, i := range list {
		a.printf("%s (%.12s): %s, the longest of %s\n", clean(i.Name), strings.TrimPrefix(i.Digest, "sha256:"), plural(i.Placebos, "placebo"), seconds(secondsOf(i.Longest)))
		if len(i.Noise) == 0 {
			a.printf("  no noise: in that time they did nothing by themselves; \"assay placebo %s\" looks again, and longer\n", clean(i.Name))
			continue
		}
		var rows [][]any
		for _, n := range i.Noise {
			rows = append(rows, []any{fmt.Sprintf("%d of %d", n.Seen, n.Of), string(n.Op), n.Kind, n.Key, strings.Join(n.Fields, ", "), seconds(secondsOf(n.Seconds))})
		}
		width, colour := screen(a.stdout)
		if err := report.Table(a.stdout, []string{"seen", "op", "kind", "key", "fields", "within"}, rows, width, colour); err != nil {
			return err
		}
	}
	return nil
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// forgetNoise removes models.
func (a *app) forgetNoise(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return usagef("", "noise: --forget: got no IMAGE, want the names of images")
	}
	if err := a.withDB(func(*results.DB) error { return nil }); err != nil {
		return err // there is nothing to forget
	}
	db, err := results.Open(a.dbPath())
	if err != nil {
		return err
	}
	defer db.Close()
	list, err := noiseOf(ctx, db, names, a.imageNames())
	if err != nil {
		return err
	}
	for _, i := range list {
		n, err := db.Forget(i.Digest)
		if err != nil {
			return err
		}
		a.printf("%s: forgot %s\n", clean(i.Name), plural(n, "placebo"))
	}
	return nil
}
