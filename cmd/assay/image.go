package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"assay/drivers/all"
	"assay/images"
	"assay/vm"
)

func (a *app) imageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Build, import, list and remove base images",
		Example: `  assay image build debian-12
  assay image list`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownCommand(c, args[0])
		},
	}
	c.AddCommand(a.imageBuildCommand(), a.imageListCommand(), a.imageShowCommand(), a.imageRemoveCommand(), a.imageImportCommand())
	return c
}

func (a *app) imageBuildCommand() *cobra.Command {
	var driver string
	var fresh, asJSON bool
	c := &cobra.Command{
		Use:   "build NAME…",
		Short: "Build images from their distribution's packages",
		Long:  "Build images. One that is there already is left as it is, unless --fresh takes today's packages. Names may be globs.",
		Example: `  assay image build debian-12
  assay image build 'debian-1*' --fresh`,
		Args:              operands(1, -1, "the NAME of an image"),
		ValidArgsFunction: a.completeImages,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.usableDriver(c.Context(), driver)
			if err != nil {
				return err
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			names, err := store.Match(args)
			if err != nil {
				return usagef("\"assay image list\" shows the images", "image build: %w", err)
			}
			return a.buildImages(c.Context(), store, names, d, fresh, asJSON)
		},
	}
	c.Flags().Var((*driverFlag)(&driver), "driver", "hypervisor `NAME` that boots the image once, to prove it")
	c.Flags().BoolVar(&fresh, "fresh", false, "build again with today's packages")
	c.Flags().BoolVar(&asJSON, "json", false, "print how the images came to be, as JSON")
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	return c
}

// buildImages builds images, and says of each what it is.
func (a *app) buildImages(ctx context.Context, store *images.Store, names []string, d vm.Driver, fresh, asJSON bool) error {
	var built []images.Record
	for _, name := range names {
		if err := bootsKernel(d, name); err != nil {
			return err
		}
		if err := a.buildImage(ctx, store, name, d, fresh); err != nil {
			return err
		}
		if asJSON {
			r, err := store.Record(name)
			if err != nil {
				return err
			}
			built = append(built, r)
		} else if err := a.sayImage(store, name); err != nil {
			return err
		}
	}
	if asJSON {
		return a.printJSON(built)
	}
	return nil
}

// sayImage prints one line about an image that is there now.
func (a *app) sayImage(store *images.Store, name string) error {
	r, err := store.Record(name)
	if err != nil {
		return err
	}
	a.printf("%s  %s  kernel %s  %s  %s\n", name, clean(r.OS.Name), clean(r.OS.Kernel), bytesText(r.Bytes), r.Image.Digest)
	return nil
}

func (a *app) imageShowCommand() *cobra.Command {
	var verify bool
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Print how an image came to be, as JSON",
		Example: `  assay image show debian-12
  assay image show debian-12 --verify`,
		Args:              operands(1, 1, "the NAME of an image"),
		ValidArgsFunction: a.completeHere,
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			r, err := store.Record(args[0])
			if err != nil {
				return misnamed("image show", err)
			}
			if verify {
				if err := store.Verify(args[0]); err != nil {
					return err
				}
				a.note("the disk is what the record says")
			}
			return a.printJSON(r)
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "read the whole disk and compare its digest")
	c.Flags().Bool("json", true, "print JSON; there is no other form")
	return c
}

// misnamed makes the name of no image a mistake of the command line.
func misnamed(command string, err error) error {
	missing, bad := (*images.NotFoundError)(nil), (*images.NameError)(nil)
	if errors.As(err, &missing) || errors.As(err, &bad) {
		return usagef("", "%s: %w", command, err)
	}
	return err
}

func (a *app) imageRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME…",
		Short:             "Remove images and what is kept for them",
		Long:              "Remove images, and the saved guests that were made from them and that no machine uses.",
		Example:           `  assay image rm debian-11`,
		Args:              operands(1, -1, "the NAME of an image"),
		ValidArgsFunction: a.completeHere,
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			for _, name := range args {
				if err := store.Remove(name); err != nil {
					return misnamed("image rm", err)
				}
				a.note("removed %s", name)
			}
			freed, err := all.Trim(a.home) // a saved guest needs its image's disk
			if err == nil && freed > 0 {
				a.note("%s of saved guests freed", bytesText(freed))
			}
			return err
		},
	}
}

func (a *app) imageImportCommand() *cobra.Command {
	var driver string
	var opt images.ImportOptions
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import a cloud image that boots from its own disk",
		Long: `Import a cloud image, qcow2 or raw. It gets the agent through a NoCloud seed
disk, is booted once, and is named after what it says it is.`,
		Example: `  assay image import jammy-server-cloudimg-amd64.img --name ubuntu-22.04
  assay image import disk.qcow2 --firmware uefi`,
		Args: operands(1, 1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("image import", "firmware", opt.Firmware, "auto", "bios", "uefi"); err != nil {
				return err
			}
			if opt.Firmware == "auto" {
				opt.Firmware = ""
			}
			return a.importImage(c.Context(), args[0], driver, opt)
		},
	}
	c.Flags().StringVar(&opt.Name, "name", "", "what to call it (default: OS-VERSION, as the guest says)")
	c.Flags().StringVar(&opt.Firmware, "firmware", "auto", "bios or uefi; auto reads it from the disk's partitions")
	c.Flags().Var((*driverFlag)(&driver), "driver", "hypervisor `NAME` that boots it once")
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	must(c.RegisterFlagCompletionFunc("firmware", words("auto", "bios", "uefi")))
	return c
}

func (a *app) importImage(ctx context.Context, file, driver string, opt images.ImportOptions) error {
	var err error
	if opt.Driver, err = a.usableDriver(ctx, driver); err != nil {
		return err
	}
	if opt.Agent, err = agent(); err != nil {
		return err
	}
	var done func()
	if opt.Scratch, done, err = a.scratch(ctx); err != nil {
		return err
	}
	defer done()
	store, err := a.store()
	if err != nil {
		return err
	}
	p := a.newProgress("import")
	opt.Progress = p.phase
	start := time.Now()
	img, err := store.Import(ctx, file, opt)
	p.close()
	if file := (*images.FileError)(nil); errors.As(err, &file) {
		return usagef("", "image import: %w", err)
	}
	if err != nil {
		return fmt.Errorf("image import: %w", err)
	}
	a.note("imported in %s", seconds(time.Since(start)))
	return a.sayImage(store, img.Name)
}

// bytesText writes a size for a person: 1.5 GiB.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
