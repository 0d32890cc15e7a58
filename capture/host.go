package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"assay/disk"
	"assay/guest"
	"assay/vm"
)

// A Host captures machines from the outside: files, and all that collectors read
// from files, come from the machine's disk as the host reads it, where no guest
// can lie; only what is alive comes from the agent. It remembers what it read of
// each layer of a disk, and reads only what changed since. It is safe for
// concurrent use.
type Host struct {
	mu    sync.Mutex
	views []*view // the latest last
}

// NewHost makes a Host that remembers nothing.
func NewHost() *Host { return &Host{} }

// maxViews bounds how many captures a Host remembers.
const maxViews = 64

// The witnesses of a capture's files.
const (
	WitnessHost  = "host"
	WitnessGuest = "guest"
)

// Take captures a machine. Its files are read from its disk; c is the line to its
// agent and tells the rest. Where the disk cannot be read, the agent tells all, and
// the capture says so. Where the agent does not answer (c may be nil), the capture
// holds what the disk tells, and says so too.
func (h *Host) Take(ctx context.Context, m vm.Machine, c *guest.Client, opt Options) (Capture, error) {
	disker, err := vm.As[vm.Disker](m)
	if err != nil || len(opt.Roots) > 0 {
		return h.askGuest(ctx, c, opt)
	}
	chosen, err := choose(collectors(scan{}), opt.Only)
	if err != nil {
		return Capture{}, err
	}
	if !slices.ContainsFunc(chosen, func(c Collector) bool { return !live(c) }) {
		return h.askGuest(ctx, c, opt)
	}
	t := &hostTake{host: h, disker: disker, c: c, opt: opt, chosen: chosen}
	t.out = newSink(func(Record) {})
	got, err := t.run(ctx)
	if unread := (*UnreadError)(nil); errors.As(err, &unread) && c != nil {
		got, err = h.askGuest(ctx, c, opt)
		got.Problems = append(got.Problems, "capture: the guest itself tells of its files: "+unread.Error())
	}
	return got, err
}

// OfDisk captures the files of a disk that no guest uses. A disk that the host
// cannot read is an *UnreadError.
func OfDisk(ctx context.Context, layers []vm.Layer, opt Options) (Capture, error) {
	out := newSink(func(Record) {})
	r, err := NewHost().readDisk(ctx, layers, opt, out)
	if err != nil {
		return Capture{}, err
	}
	defer r.Close()
	got := finish(opt.Image, r.view.records(nil), out.Problems())
	got.Witness = WitnessHost
	return got, nil
}

// Rehearse has the agent do its part of a Host's capture, for nothing: it is
// quicker the next time.
func Rehearse(ctx context.Context, c *guest.Client) error {
	if _, err := askLive(ctx, c.Call, nil); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}

// askGuest has the agent tell everything.
func (h *Host) askGuest(ctx context.Context, c *guest.Client, opt Options) (Capture, error) {
	if c == nil {
		return Capture{}, errors.New("capture: no agent answers, and the host cannot read the disk")
	}
	got, err := Take(ctx, c, opt)
	got.Witness = WitnessGuest
	return got, err
}

// An UnreadError says why the host cannot read a disk.
type UnreadError struct{ why string }

// Error implements error.
func (e *UnreadError) Error() string { return e.why }

// hostTake is one capture.
type hostTake struct {
	host   *Host
	disker vm.Disker
	c      *guest.Client
	opt    Options
	chosen []Collector
	out    *Sink // takes the problems, and bounds the files

	still  guest.Stillness
	during func(context.Context) error // is called while the disk stands still; may be nil
}

// told is what the agent said.
type told struct {
	stream
	err error
}

func (t *hostTake) run(ctx context.Context) (Capture, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	agent := make(chan told, 1)
	go func() { agent <- t.live(ctx) }()
	layers, err := t.mark(ctx)
	if err != nil {
		return Capture{}, fmt.Errorf("capture: %w", err)
	}
	r, err := t.host.readDisk(ctx, layers, t.opt, t.out)
	if err != nil {
		return Capture{}, err
	}
	defer r.Close()
	parsed, err := t.parse(ctx, r)
	if err != nil {
		return Capture{}, err
	}
	said := <-agent
	if ctx.Err() != nil {
		return Capture{}, fmt.Errorf("capture: %w", context.Cause(ctx))
	}
	return t.join(ctx, r, parsed, said)
}

// live asks the agent for what only it can tell.
func (t *hostTake) live(ctx context.Context) told {
	if t.c == nil {
		return told{err: errors.New("no agent answers")}
	}
	s, err := askLive(ctx, t.c.Call, t.opt.Only)
	return told{s, err}
}

// freezeTime is how long a guest may take to write what it has in memory.
const freezeTime = 30 * time.Second

// mark freezes the machine's disk, at a moment when the guest has written all that
// it had to write. A guest that does not do that is read as it is.
func (t *hostTake) mark(ctx context.Context) (layers []vm.Layer, err error) {
	if t.c != nil {
		frozen, cancel := context.WithTimeout(ctx, freezeTime)
		defer cancel()
		var failed error
		err = t.c.Freeze(frozen, "/", func(s guest.Stillness) error {
			t.still = s
			if layers, failed = t.disker.Mark(ctx); failed == nil && t.during != nil {
				failed = t.during(ctx)
			}
			return failed
		})
		if failed != nil {
			return nil, failed
		}
		if err != nil {
			t.still = guest.Stillness{}
			t.out.Problem("capture: the guest's disk was not flushed: %v", err)
		}
	}
	if layers == nil && ctx.Err() == nil {
		layers, err = t.disker.Mark(ctx)
		return layers, err
	}
	return layers, context.Cause(ctx)
}

// parse runs the collectors that read nothing but files on the disk.
func (t *hostTake) parse(ctx context.Context, r *reading) ([]Record, error) {
	var records []Record
	sink := newSink(func(r Record) { records = append(records, r) })
	for _, c := range t.chosen {
		if !live(c) && c.Name() != (files{}).Name() && ctx.Err() == nil {
			collectOne(ctx, c, r.onDisk, sink)
		}
	}
	for _, p := range sink.Problems() {
		t.out.Problem("%s", p)
	}
	return records, ctx.Err()
}

func (t *hostTake) chose(kind string) bool {
	return slices.ContainsFunc(t.chosen, func(c Collector) bool { return slices.Contains(c.Kinds(), kind) })
}

// join makes the capture of what both witnesses tell.
func (t *hostTake) join(ctx context.Context, r *reading, parsed []Record, said told) (Capture, error) {
	if said.err != nil {
		t.out.Problem("capture: what runs in the guest is unknown: %v", said.err)
	}
	if said.err == nil {
		r.view.mounted = mountsOf(said.records)
	}
	t.host.remember(r.view)
	mounted := r.view.mounted
	records := parsed
	if t.chose(File) {
		records = append(r.view.records(mounted), parsed...)
	}
	for _, rec := range said.records {
		if t.chose(rec.Kind) && believable(rec, mounted) {
			records = append(records, rec)
		}
	}
	if t.chose(File) && said.err == nil {
		records = t.dispute(ctx, r, mounted, records)
	}
	if ctx.Err() != nil {
		return Capture{}, fmt.Errorf("capture: %w", context.Cause(ctx))
	}
	got := finish(t.opt.Image, records, append(said.problems, t.out.Problems()...))
	got.Witness = WitnessHost
	got.Partial = said.err != nil
	return got, nil
}

// mountsOf returns where the guest says that other file systems than its root's
// are mounted.
func mountsOf(records []Record) mountPoints {
	m := mountPoints{}
	for _, r := range records {
		if p, err := Unescape(r.Key); r.Kind == Mount && err == nil && strings.HasPrefix(p, "/") && p != "/" {
			m[p] = true
		}
	}
	return m
}

// believable reports whether a record from the agent is about what only the agent
// can tell: what is on the disk, the host knows better.
func believable(r Record, mounted mountPoints) bool {
	switch r.Kind {
	case File:
		p, err := Unescape(r.Key)
		point, _ := mounted.over(p)
		return err == nil && point != ""
	case Package:
		return r.Attrs["manager"] == "rpm"
	case Unit:
		return r.Attrs["path"] == "" || runtimeUnit(r.Attrs["path"])
	}
	return liveKinds[r.Kind]
}

// liveKinds are the kinds that only a running guest tells.
var liveKinds = func() map[string]bool {
	kinds := map[string]bool{}
	for _, c := range Collectors() {
		for _, k := range c.Kinds() {
			kinds[k] = kinds[k] || live(c)
		}
	}
	return kinds
}()

// reading is a disk that the host has read.
type reading struct {
	*onDisk
	disk  *disk.Disk
	view  *view
	fresh []string // paths of what the Host had not read before, sorted
}

// Close closes the disk.
func (r *reading) Close() error { return r.disk.Close() }

// readDisk reads the files of a chain of layers, as far as they are not known.
func (h *Host) readDisk(ctx context.Context, layers []vm.Layer, opt Options, out *Sink) (*reading, error) {
	d, err := openLayers(layers)
	if err != nil {
		return nil, &UnreadError{err.Error()}
	}
	r, err := h.readRoot(ctx, d, layers, opt, out)
	if err != nil {
		d.Close()
		return nil, err
	}
	return r, nil
}

func (h *Host) readRoot(ctx context.Context, d *disk.Disk, layers []vm.Layer, opt Options, out *Sink) (*reading, error) {
	root, fsys, err := findRoot(d)
	if err != nil {
		return nil, &UnreadError{err.Error()}
	}
	tree, names, err := readDisk(ctx, fsys, out)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("capture: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, &UnreadError{err.Error()}
	}
	chain := idsOf(layers)
	old := h.best(chain, opt.Known)
	touched := func(uint32) bool { return true }
	if old != nil {
		if set, err := touchedSince(d, root, fsys, layers, len(old.chain)); err != nil {
			out.Problem("capture: every file is read anew: %v", err)
		} else {
			touched = set.Has
		}
	}
	v, fresh, err := look(ctx, tree, names, old, touched, out)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", context.Cause(ctx))
	}
	v.chain = chain
	return &reading{onDisk: tree, disk: d, view: v, fresh: fresh}, nil
}

func openLayers(layers []vm.Layer) (*disk.Disk, error) {
	var files []disk.Layer
	for _, l := range layers {
		files = append(files, disk.Layer{Path: l.Path, Format: l.Format})
	}
	return disk.Open(files)
}

func idsOf(layers []vm.Layer) []string {
	var ids []string
	for _, l := range layers {
		ids = append(ids, l.ID)
	}
	return ids
}

// best returns the view of the longest known chain that a chain begins with; nil
// if there is none.
func (h *Host) best(chain []string, known *Manifest) *view {
	h.mu.Lock()
	defer h.mu.Unlock()
	var best *view
	consider := func(v *view) {
		if n := len(v.chain); n <= len(chain) && slices.Equal(v.chain, chain[:n]) && (best == nil || n > len(best.chain)) {
			best = v
		}
	}
	if known != nil && known.view != nil {
		consider(known.view)
	}
	for _, v := range h.views {
		consider(v)
	}
	return best
}

func (h *Host) remember(v *view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.views = append(h.views, v)
	if n := len(h.views) - maxViews; n > 0 {
		h.views = slices.Delete(h.views, 0, n)
	}
}
