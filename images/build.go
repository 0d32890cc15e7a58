package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay/vm"
)

// BuildOptions is what Build needs beside a name.
type BuildOptions struct {
	Agent    []byte             // the static agent for the guest; required
	Driver   vm.Driver          // boots the image once to prove it; nil: the image is not proved, and has no manifest
	Scratch  string             // folder for the proving machine; default: the system's temporary folder
	Fresh    bool               // take today's packages, even if an image is there
	Extra    *Extra             // the name is not the catalog's, but of an image like one of it; nil: the catalog's
	Progress func(phase string) // told what the build is doing, if set
}

// Build makes the image of that name from its distribution's packages and
// returns it. One that is there, with this agent and by this recipe, is returned
// at once; one with another agent is made again from the packages that are kept,
// in seconds. An imported image gets the agent on a new seed disk. What the name
// meant before keeps working until the new image is whole. Two builders do not
// build twice: the second waits for the first.
func (s *Store) Build(ctx context.Context, name string, opt BuildOptions) (vm.Image, error) {
	if err := s.canBuild(name, opt); err != nil {
		return vm.Image{}, err
	}
	if len(opt.Agent) == 0 {
		return vm.Image{}, fmt.Errorf("%s: got no agent, want the agent's program", name)
	}
	if opt.Progress == nil {
		opt.Progress = func(string) {}
	}
	unlock, err := s.lock(ctx, name, opt.Progress)
	if err != nil {
		return vm.Image{}, err
	}
	defer unlock()
	rec, err := s.refresh(ctx, name, opt)
	if err != nil {
		return vm.Image{}, fmt.Errorf("%s: %w", name, explain(err, s.dir))
	}
	return rec.Image, nil
}

// canBuild returns an error that says why an image cannot be made by name.
func (s *Store) canBuild(name string, opt BuildOptions) error {
	if opt.Extra != nil {
		return opt.Extra.check(name)
	}
	if _, err := s.Record(name); err == nil {
		return nil
	}
	k, ok := theCatalog.find(name)
	switch {
	case !ok:
		return s.notFound(name)
	case !k.buildable():
		return fmt.Errorf("%s is imported, not built: %s", name, k.next())
	}
	return nil
}

// refresh does for one name what is left to do.
func (s *Store) refresh(ctx context.Context, name string, opt BuildOptions) (Record, error) {
	rec, err := s.Record(name)
	if err == nil && rec.How == "import" {
		return s.reseed(ctx, rec, opt)
	}
	k, ok := opt.known(name)
	if !ok {
		return rec, err
	}
	if err != nil || opt.Fresh || !k.isCurrent(rec, opt.Agent) {
		return s.build(ctx, k, opt)
	}
	if !rec.Booted && opt.Driver != nil {
		return s.proveAgain(ctx, rec, opt)
	}
	return rec, nil
}

// isCurrent reports whether building again from the same packages would change nothing.
func (k known) isCurrent(rec Record, agent []byte) bool {
	return rec.How == "build" && rec.Agent == agentDigest(agent) && rec.Recipe == k.diskDigest()
}

// build does the work of Build for the one builder.
func (s *Store) build(ctx context.Context, k known, opt BuildOptions) (Record, error) {
	if err := needTools(Tools()); err != nil {
		return Record{}, err
	}
	work, err := s.temp()
	if err != nil {
		return Record{}, err
	}
	defer work.remove()
	for _, dir := range []string{work.path, work.shared} {
		if err := needRoom(dir, needBytes); err != nil {
			return Record{}, err
		}
	}
	clock := newClock(opt.Progress)
	b, err := s.base(ctx, k, opt.Fresh, work, clock.phase)
	if err != nil {
		return Record{}, err
	}
	dir := filepath.Join(work.path, "version")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Record{}, err
	}
	rec, err := assemble(ctx, k, b, opt.Agent, work, dir, clock.phase)
	if err == nil && opt.Driver != nil {
		err = proof{opt.Driver, opt.Scratch, clock.phase}.boot(ctx, &rec)
	}
	if err != nil {
		return Record{}, err
	}
	rec.Seconds = clock.stop()
	return s.commit(dir, rec)
}

// proveAgain boots an image that is in the store but was never booted.
func (s *Store) proveAgain(ctx context.Context, rec Record, opt BuildOptions) (Record, error) {
	if err := (proof{opt.Driver, opt.Scratch, opt.Progress}).boot(ctx, &rec); err != nil {
		return Record{}, err
	}
	return rec, writeRecord(filepath.Dir(rec.Image.Disk), rec)
}

// clock times the phases of a build and passes them on.
type clock struct {
	tell    func(string)
	seconds map[string]float64
	current string
	since   time.Time
}

func newClock(tell func(string)) *clock { return &clock{tell: tell, seconds: map[string]float64{}} }

// phase ends the phase before and begins one.
func (c *clock) phase(name string) {
	c.stop()
	c.current, c.since = name, time.Now()
	c.tell(name)
}

// stop ends the phase and returns the seconds of all.
func (c *clock) stop() map[string]float64 {
	if c.current != "" {
		c.seconds[c.current] += time.Since(c.since).Seconds()
		c.current = ""
	}
	return c.seconds
}
