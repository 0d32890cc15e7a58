package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"time"

	"assay"
	"assay/engine"
	"assay/images"
	"assay/results"
	"assay/vm"
)

// sweepDead destroys what dead runs left behind and closes their records.
func (a *app) sweepDead(ctx context.Context, drivers []vm.Driver, db *results.DB) error {
	var errs []error
	for _, id := range engine.DeadRuns(a.home) {
		for _, l := range engine.Abandoned(a.home, id) {
			a.note("%s died while it used %s, a machine of yours: it is as the test left it; go back to its snapshot, if it has one of assay's, and delete that, with %s's own command", id, l.Existing, l.Driver)
		}
		err := a.closeDead(db, id)
		n, collectErr := engine.Collect(ctx, drivers, a.home, id)
		errs = append(errs, err, collectErr)
		a.note("swept %s, which died: %s", id, plural(n, "machine"))
	}
	return errors.Join(append(errs, a.sweepScratch(ctx, drivers))...)
}

// closeDead closes the record of a run whose process died. One that these
// results do not know is left alone.
func (a *app) closeDead(db *results.DB, id string) error {
	until, machines := engine.Remains(a.home, id)
	err := db.InterruptedAt(id, until, machines)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// closeAllDead closes the records of dead runs before somebody reads them; what
// the runs left behind stays for "assay gc". Results that cannot be written to
// show such runs as running.
func (a *app) closeAllDead() {
	dead := engine.DeadRuns(a.home)
	if len(dead) == 0 {
		return
	}
	db, err := results.Open(a.dbPath())
	if err != nil {
		return
	}
	defer db.Close()
	for _, id := range dead {
		_ = a.closeDead(db, id)
	}
}

// A need is an image that a plan runs on, and a driver that can prove it.
type need struct {
	image  string
	driver vm.Driver
}

// needs lists the images of a plan, each once for each driver, without those that need no disk
// and those that a hypervisor fetches itself.
func needs(env engine.Env, cells []assay.Cell, store *images.Store) []need {
	var list []need
	for _, c := range cells {
		d := find(env.Drivers, c.Driver)
		if d == nil || isMadeUp(d) || c.Image == engine.NoImage {
			continue
		}
		if _, fetches := d.(vm.Catalog); fetches {
			if _, err := store.Match([]string{c.Image}); isForeign(err) {
				continue
			}
		}
		if !slices.Contains(list, need{c.Image, d}) {
			list = append(list, need{c.Image, d})
		}
	}
	return list
}

// prepareImages builds the images that a plan needs and the store lacks, once its
// drivers are known to be there. An image whose agent is older than this assay is
// made again, which takes seconds.
func (a *app) prepareImages(ctx context.Context, env engine.Env, cells []assay.Cell, noBuild bool) error {
	if err := ready(ctx, env.Drivers, cells); err != nil {
		return err
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	list := needs(env, cells, store)
	if len(list) == 0 {
		return nil
	}
	entries, err := store.List()
	if err != nil {
		return err
	}
	for _, n := range list {
		built := slices.ContainsFunc(entries, func(e images.Entry) bool { return e.Name == n.image && e.How == "build" })
		if err := a.prepareImage(ctx, store, n, built && !noBuild); err != nil {
			return err
		}
	}
	return nil
}

// prepareImage sees that one image is there, and builds it if that can be done.
func (a *app) prepareImage(ctx context.Context, store *images.Store, n need, build bool) error {
	if !build {
		_, err := store.Resolve(n.image)
		return err
	}
	if err := cannotBuild(runtime.GOOS, store, n); err != nil {
		return err
	}
	if err := bootsKernel(n.driver, n.image); err != nil {
		if _, missing := store.Record(n.image); missing != nil {
			return err
		}
		return nil // a test may launch another image; if not, the launch says the same
	}
	return a.buildImage(ctx, store, n.image, n.driver, false)
}

// cannotBuild says where else an image may come from on systems that build none.
func cannotBuild(system string, store *images.Store, n need) error {
	if _, err := store.Record(n.image); err == nil || system == "linux" {
		return nil
	}
	err := fmt.Errorf("%s: no image, and they are built on Linux only: \"assay image import FILE --name %s\" takes a cloud image", n.image, n.image)
	if _, fetches := n.driver.(vm.Catalog); fetches {
		err = fmt.Errorf("%w; --image takes the names that %s has for its own, too", err, n.driver.Name())
	}
	return err
}

// buildImage makes one image and says what it is doing. There is nothing to say
// about one that is there.
func (a *app) buildImage(ctx context.Context, store *images.Store, name string, driver vm.Driver, fresh bool) error {
	agent, err := agent()
	if err != nil {
		return err
	}
	scratch, done, err := a.scratch(ctx)
	if err != nil {
		return err
	}
	defer done()
	p := a.newProgress(name)
	defer p.close()
	start := time.Now()
	_, err = store.Build(ctx, name, images.BuildOptions{Agent: agent, Driver: driver, Scratch: scratch, Fresh: fresh, Progress: p.phase})
	if err != nil {
		return fmt.Errorf("image build: %w", err)
	}
	if p.said() {
		a.note("built %s in %s", name, seconds(time.Since(start)))
	}
	return nil
}
