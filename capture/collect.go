package capture

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Collectors returns all collectors.
func Collectors() []Collector { return collectors(scan{}) }

// collectors is the list. To add one: its file, its goldens, one line. Those that
// take longest come first, and the others run beside them.
func collectors(s scan) []Collector {
	seen := &census{}
	return []Collector{
		files{s},
		kernel{},
		processes{seen},
		packages{},
		rpm{},
		accounts{},
		access{},
		units{},
		activity{},
		cron{},
		environment{},
		network{seen},
		mounts{},
		autostart{},
		authorities{},
		journal{},
	}
}

// lively is a Collector that may need the running guest: its memory, its /proc,
// its /run, its programs. A collector that does not say so reads nothing but
// files that lie on the guest's disk, and may as well run on a disk's Source.
type lively interface {
	// Live reports whether the collector needs the running guest.
	Live() bool
}

// live reports whether a collector needs the running guest.
func live(c Collector) bool {
	l, ok := c.(lively)
	return ok && l.Live()
}

// partial is a Collector that makes up another one's records together with it:
// the one reads the disk and the other asks the running guest. Whoever chooses
// the whole by its name has the part too.
type partial interface {
	// PartOf returns the name of the whole.
	PartOf() string
}

// answersTo reports whether a collector is chosen by a name: its own, or that of
// the collector that it is a part of.
func answersTo(c Collector, name string) bool {
	p, ok := c.(partial)
	return c.Name() == name || ok && p.PartOf() == name
}

// Options says what to capture.
type Options struct {
	Only  []string  // names of collectors; empty: all
	Roots []string  // folders that the files collector walks; empty: "/"
	Known *Manifest // of the guest's image: what it holds is neither hashed nor sent again
	Image string    // digest of the image; put into the capture
}

// livingParts runs what only the running guest tells: the collectors that are
// live, and the walk of the file systems that the host does not read.
// The mounts are told in any case: they say what those file systems are.
func livingParts(all []Collector) []Collector {
	parts := slices.DeleteFunc(slices.Clone(all), func(c Collector) bool { return !live(c) && c.Name() != (files{}).Name() })
	if !slices.Contains(names(parts), mounts{}.Name()) {
		parts = append(parts, mounts{})
	}
	return parts
}

// Collect runs the collectors on src. It fails when a collector's name is unknown
// or ctx ends; what can't be observed is among the capture's problems.
func Collect(ctx context.Context, src Source, opt Options) (Capture, error) {
	var records []Record
	sink := newSink(func(r Record) { records = append(records, r) })
	var known []Record
	s := scan{roots: opt.Roots}
	if opt.Known != nil {
		known = opt.Known.records
		s.known = newPrints(known, [2]uint64{})
	}
	if err := collect(ctx, src, opt.Only, s, sink); err != nil {
		return Capture{}, err
	}
	records = append(records, s.known.unchanged(known)...)
	return finish(opt.Image, records, sink.Problems()), nil
}

// collect runs the collectors named in only, or all.
func collect(ctx context.Context, src Source, only []string, s scan, out *Sink) error {
	chosen, err := choose(collectors(s), only)
	if err != nil {
		return err
	}
	if s.elsewhere {
		chosen = livingParts(chosen)
	}
	collectAll(ctx, chosen, src, out)
	if ctx.Err() != nil {
		return fmt.Errorf("capture: %w", context.Cause(ctx))
	}
	return nil
}

// collectAll runs collectors in their order, as many at a time as there are
// processors. Two at least: the first has much to wait for.
func collectAll(ctx context.Context, all []Collector, src Source, out *Sink) {
	next := make(chan Collector, len(all))
	for _, c := range all {
		next <- c
	}
	close(next)
	var wg sync.WaitGroup
	for range min(len(all), max(2, runtime.GOMAXPROCS(0))) {
		wg.Go(func() {
			for c := range next {
				if ctx.Err() == nil {
					collectOne(ctx, c, src, out)
				}
			}
		})
	}
	wg.Wait()
}

func collectOne(ctx context.Context, c Collector, src Source, out *Sink) {
	if err := c.Collect(ctx, src, out); err != nil && ctx.Err() == nil {
		out.Problem("%s: %v", c.Name(), err)
	}
}

func choose(all []Collector, only []string) ([]Collector, error) {
	if len(only) == 0 {
		return all, nil
	}
	for _, name := range only {
		if !slices.Contains(names(all), name) {
			return nil, fmt.Errorf("capture: unknown collector %q, want one of %s", name, strings.Join(names(all), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Collector) bool {
		return !slices.ContainsFunc(only, func(name string) bool { return answersTo(c, name) })
	}), nil
}

func names(cs []Collector) []string {
	var out []string
	for _, c := range cs {
		out = append(out, c.Name())
	}
	return out
}

// finish puts records into their order and makes their keys unique.
func finish(image string, records []Record, problems []string) Capture {
	slices.SortFunc(records, compareRecords)
	records = joinUnits(records)
	for twins(records) {
		unique(records)
	}
	for _, r := range records {
		if why := r.Attrs["unread"]; why != "" && r.Kind == File {
			problems = append(problems, "files: "+cut(r.Key, 200)+": "+why)
		}
	}
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems:maxProblems], fmt.Sprintf("capture: %d more problems", len(problems)-maxProblems))
	}
	slices.Sort(problems)
	return Capture{Image: image, Version: Version, Records: records, Problems: slices.Compact(problems)}
}

// compareRecords orders by kind and key; twins by what does not change from one
// capture to the next.
func compareRecords(a, b Record) int {
	if c := compareKeys(a, b); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(stable(a), stable(b)), cmp.Compare(fmt.Sprint(a.Attrs), fmt.Sprint(b.Attrs)))
}

// stable renders the attributes that Diff compares.
func stable(r Record) string {
	var b strings.Builder
	for _, name := range fields(r.Attrs) {
		if !volatile[r.Kind][name] {
			fmt.Fprintf(&b, "%s=%q ", name, r.Attrs[name])
		}
	}
	return b.String()
}

// twins reports whether two neighbours share kind and key.
func twins(sorted []Record) bool {
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Kind == sorted[i-1].Kind && sorted[i].Key == sorted[i-1].Key {
			return true
		}
	}
	return false
}

// unique numbers twins: "tester: sleep 9", "tester: sleep 9 #2", …
func unique(sorted []Record) {
	key, n := "", 1
	for i := range sorted {
		r := &sorted[i]
		if i == 0 || r.Kind != sorted[i-1].Kind || r.Key != key {
			key, n = r.Key, 1
			continue
		}
		n++
		r.Key = fmt.Sprintf("%s #%d", key, n)
	}
	slices.SortStableFunc(sorted, compareKeys)
}
