package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"assay/drivers/all"
	"assay/images"
)

// A listedImage is an image with the saved guests that were made from it, of
// whatever version.
type listedImage struct {
	images.Entry
	Templates []all.Template `json:"templates"`
}

func (a *app) imageListCommand() *cobra.Command {
	var asJSON, long bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the images that are here and those that can be had",
		Long: `List the images that are here and those that can be had, with their saved
guests, from which launches clone machines: how many, what they occupy, and when
the last one was used.`,
		Example: `  assay image list
  assay image list --long
  assay image list --json`,
		Args: operands(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			list, err := a.listedImages()
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return a.printJSON(list)
			case long:
				return a.listLong(list)
			}
			return a.listShort(list)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&long, "long", false, "also print a line for each saved guest, and what to do about images that cannot be used")
	return c
}

// listedImages joins the store's images and the drivers' saved guests.
func (a *app) listedImages() ([]listedImage, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	entries, err := store.List()
	if err != nil {
		return nil, err
	}
	saved, err := all.Templates(a.home)
	if err != nil {
		return nil, err
	}
	var list []listedImage
	for _, e := range entries {
		mine := []all.Template{} // in JSON a list, even if empty
		for _, t := range saved {
			if t.Image == e.Name {
				mine = append(mine, t)
			}
		}
		list = append(list, listedImage{e, mine})
	}
	return list, nil
}

func (a *app) listShort(list []listedImage) error {
	var rows [][]any
	for _, i := range list {
		state, made, size := "to "+i.How, "", ""
		if i.Present {
			state, made, size = "here", minute(i.Made), bytesText(i.Bytes)
		}
		if i.Problem != "" {
			state = "unusable"
		}
		saved, used := i.saved()
		rows = append(rows, []any{i.Name, i.Arch, size, made, state, saved, used})
	}
	return a.table([]string{"name", "arch", "size", "made", "state", "saved guests", "last used"}, rows)
}

// saved sums an image's saved guests up: how many and how large, and when the
// last one was used.
func (i listedImage) saved() (sum, used string) {
	if len(i.Templates) == 0 {
		return "", ""
	}
	var total int64
	var last time.Time
	for _, t := range i.Templates {
		total += t.Bytes
		if t.Used.After(last) {
			last = t.Used
		}
	}
	return fmt.Sprintf("%d, %s", len(i.Templates), bytesText(total)), minute(last)
}

// listLong prints everything, of each image a block.
func (a *app) listLong(list []listedImage) error {
	for _, i := range list {
		a.printf("%s\n  %s %s %s\n", i.Name, clean(cmp.Or(i.Title, i.OS)), clean(i.Version), i.Arch)
		if i.Present {
			a.printf("  %s, made %s, kernel %s\n  %s\n", bytesText(i.Bytes), minute(i.Made), clean(i.Kernel), i.Digest)
		}
		for _, remark := range []string{i.Problem, i.Next} {
			if remark != "" {
				a.printf("  %s\n", clean(remark))
			}
		}
		for _, t := range i.Templates {
			a.printf("  saved guest: %s\n", i.describe(t))
		}
	}
	return nil
}

func (i listedImage) describe(t all.Template) string {
	s := fmt.Sprintf("%d cpu, %s memory, %s on disk, made %s, used %s", t.CPUs, bytesText(t.Memory), bytesText(t.Bytes), minute(t.Made), minute(t.Used))
	if t.Failed > 0 {
		s += fmt.Sprintf(", %d clones did not wake, made again %d times", t.Failed, t.Rebuilt)
	}
	if t.Digest != i.Digest {
		s += ", of an earlier version of the image"
	}
	return s
}

// minute writes a time for a person, as precisely as lists need it.
func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
