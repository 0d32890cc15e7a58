package builtins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/capture"
	"assay/engine"
	"assay/guest"
	"assay/near"
	"assay/vm"
)

type captureArgs struct {
	Machine *Machine `star:"machine" help:"machine to look at"`
	Only    []string `star:"only?" help:"names of collectors, such as \"files\" and \"packages\"; default: all"`
}

var takeCapture = engine.Func("capture", "Capture",
	"Observes what a machine is: files, packages, processes, units, users and more.\n"+
		"diff compares two captures.",
	captureArgs{}, runCapture)

func runCapture(ctx context.Context, s *engine.Session, a captureArgs) (starlark.Value, error) {
	m := a.Machine
	s.Describe(m.name, m.vm.ID())
	if err := knownCollectors(a.Only); err != nil {
		return nil, err
	}
	twin := m.startTwin(ctx, s, a.Only, m.scope(s))
	v, err := m.take(ctx, s, a.Only)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	v.twin = twin
	v.record.ID = s.AddCapture(v.record)
	path, err := s.Scratch(v.fileName())
	if err != nil {
		return nil, err
	}
	s.Beside(func(context.Context) { v.keep(s, path) })
	return v, nil
}

// take looks at a machine. The capture is not stored yet.
func (m *Machine) take(ctx context.Context, s *engine.Session, only []string) (*Capture, error) {
	at := m.moment(s)
	opt := capture.Options{Only: only, Known: m.manifest(s), Image: m.image.Digest}
	var taken capture.Capture
	err := m.use(ctx, func(c *guest.Client) (err error) {
		taken, err = m.host.Take(ctx, m.vm, c, opt)
		return err
	})
	if m.silent(ctx, err) {
		taken, err = m.host.Take(ctx, m.vm, nil, opt)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	at.ended = time.Now()
	v := &Capture{machine: m, capture: taken, moment: at, digest: sync.OnceValue(taken.Digest), record: assay.Capture{Machine: m.vm.ID(),
		Counts: taken.Counts(), Problems: taken.Problems, Witness: taken.Witness, Seconds: seconds(at.ended.Sub(at.began))}}
	return v, nil
}

// silent reports whether only the agent is gone, and the host can still read the
// machine's disk.
func (m *Machine) silent(ctx context.Context, err error) bool {
	var line *guest.LineError
	var stopped *vm.StoppedError
	if !errors.As(err, &line) || errors.As(err, &stopped) || ctx.Err() != nil {
		return false
	}
	_, err = vm.As[vm.Disker](m.vm)
	return err == nil
}

func knownCollectors(only []string) error {
	var names []string
	for _, c := range capture.Collectors() {
		names = append(names, c.Name())
	}
	for _, name := range only {
		if slices.Contains(names, name) {
			continue
		}
		if word := near.Name(name, names); word != "" {
			return engine.Scriptf("capture: for parameter only: %s: no such collector; did you mean %s?", name, word)
		}
		return engine.Scriptf("capture: for parameter only: %s: no such collector, want one of %q", name, names)
	}
	return nil
}

// manifest reads the capture of the untouched image, which makes captures fast.
// Without one they are as good.
func (m *Machine) manifest(s *engine.Session) *capture.Manifest {
	if m.image.Manifest == "" {
		return nil
	}
	known, err := readManifest(m.image.Manifest)
	if err != nil {
		s.Log(fmt.Sprintf("capture: %v; every file is read instead", err))
		return nil
	}
	return known
}

// manifests are those that were read, by path: an image's never changes.
var manifests sync.Map

// readManifest reads a manifest once, however many ask.
func readManifest(path string) (*capture.Manifest, error) {
	once, _ := manifests.LoadOrStore(path, sync.OnceValues(func() (*capture.Manifest, error) { return capture.ReadManifest(path) }))
	return once.(func() (*capture.Manifest, error))()
}

// fileName is what a stored capture is called.
func (c *Capture) fileName() string { return fmt.Sprintf("capture-%d.json.zst", c.record.ID) }

// keep stores a capture beside the results. The test goes on meanwhile.
func (c *Capture) keep(s *engine.Session, path string) {
	s.SetDigest(c.record.ID, c.digest())
	if err := c.write(path); err != nil {
		s.Log(fmt.Sprintf("capture %d is not kept: %v", c.record.ID, err))
		return
	}
	if _, err := s.Artifact(c.fileName(), path); err != nil {
		s.Log(fmt.Sprintf("capture %d is not kept: %v", c.record.ID, err))
	}
}

func (c *Capture) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(c.capture.Encode(f), f.Close())
}

// A Capture is what a machine was at one moment, as scripts see it.
type Capture struct {
	machine *Machine
	capture capture.Capture
	record  assay.Capture
	digest  func() string
	moment
}

var captureType = &engine.Type{
	Name: "Capture",
	Doc:  "What a machine was at one moment.",
	Attrs: []engine.Attr{
		engine.Field("id", "int", "Its number within the test.", func(c *Capture) starlark.Value { return starlark.MakeInt(c.record.ID) }),
		engine.Field("machine", "Machine", "The machine.", func(c *Capture) starlark.Value { return c.machine }),
		engine.Field("digest", "str", "The sha256 of all records.", func(c *Capture) starlark.Value { return starlark.String(c.digest()) }),
		engine.Field("kinds", "list[str]", `The kinds of record that it holds, sorted: "file", "package", …`, func(c *Capture) starlark.Value {
			return stringList(slices.Sorted(maps.Keys(c.record.Counts)))
		}),
		engine.Field("counts", "dict[str, int]", "How many records it holds of each kind.", func(c *Capture) starlark.Value {
			return stringDict(slices.Sorted(maps.Keys(c.record.Counts)), func(k string) starlark.Value { return starlark.MakeInt(c.record.Counts[k]) })
		}),
		engine.Field("witness", "str", `Who told of the files: "host", which read the machine's disk, or "guest", the agent in it.`, func(c *Capture) starlark.Value { return starlark.String(c.record.Witness) }),
		engine.Field("problems", "list[str]", "What could not be observed, and why.", func(c *Capture) starlark.Value { return stringList(c.record.Problems) }),
		engine.Field("seconds", "float", "How long it took.", func(c *Capture) starlark.Value { return starlark.Float(c.record.Seconds) }),
		engine.Method("of", "list[Record]", "The records of one kind, sorted by key.", kindArgs{},
			func(c *Capture, a kindArgs) (starlark.Value, error) { return c.of(a.Kind), nil }),
		engine.Method("get", "Record", "The record of that kind and key, or None.", recordArgs{},
			func(c *Capture, a recordArgs) (starlark.Value, error) { return c.get(a.Kind, a.Key), nil }),
	},
}

type kindArgs struct {
	Kind string `star:"kind" help:"kind of record: \"file\", \"package\", …"`
}

type recordArgs struct {
	Kind string `star:"kind" help:"kind of record: \"file\", \"package\", …"`
	Key  string `star:"key" help:"its key: a path, \"dpkg:jq\", …"`
}

func (c *Capture) of(kind string) starlark.Value {
	var all []starlark.Value
	for _, r := range c.capture.Records {
		if r.Kind == kind {
			all = append(all, &Record{r})
		}
	}
	return frozenList(all)
}

func (c *Capture) get(kind, key string) starlark.Value {
	for _, r := range c.capture.Records {
		if r.Kind == kind && r.Key == key {
			return &Record{r}
		}
	}
	return starlark.None
}

// String returns what print shows.
func (c *Capture) String() string {
	return fmt.Sprintf("<capture %d of %s: %d records>", c.record.ID, c.machine.name, len(c.capture.Records))
}

// Type returns "Capture".
func (c *Capture) Type() string { return "Capture" }

// Freeze does nothing: a capture never changes.
func (c *Capture) Freeze() {}

// Truth returns True.
func (c *Capture) Truth() starlark.Bool { return true }

// Hash fails: a capture is not a key.
func (c *Capture) Hash() (uint32, error) { return 0, unhashable(c) }

// Attr implements starlark.HasAttrs.
func (c *Capture) Attr(name string) (starlark.Value, error) { return captureType.Attr(c, name) }

// AttrNames implements starlark.HasAttrs.
func (c *Capture) AttrNames() []string { return captureType.AttrNames() }

// A Record is one observed fact, as scripts see it.
type Record struct{ record capture.Record }

var recordType = &engine.Type{
	Name: "Record",
	Doc:  "One fact that a capture observed.",
	Attrs: []engine.Attr{
		engine.Field("kind", "str", `What it is about: "file", "package", …`, func(r *Record) starlark.Value { return starlark.String(r.record.Kind) }),
		engine.Field("key", "str", `Its name among its kind: a path, "dpkg:jq", …`, func(r *Record) starlark.Value { return starlark.String(r.record.Key) }),
		engine.Field("attrs", "dict[str, str]", "What was observed.", func(r *Record) starlark.Value { return attrDict(r.record.Attrs) }),
	},
}

func attrDict(attrs map[string]string) starlark.Value {
	return stringDict(slices.Sorted(maps.Keys(attrs)), func(k string) starlark.Value { return starlark.String(attrs[k]) })
}

// String returns KIND KEY.
func (r *Record) String() string { return r.record.Kind + " " + r.record.Key }

// Type returns "Record".
func (r *Record) Type() string { return "Record" }

// Freeze does nothing: a record never changes.
func (r *Record) Freeze() {}

// Truth returns True.
func (r *Record) Truth() starlark.Bool { return true }

// Hash fails: a record is not a key.
func (r *Record) Hash() (uint32, error) { return 0, unhashable(r) }

// Attr implements starlark.HasAttrs.
func (r *Record) Attr(name string) (starlark.Value, error) { return recordType.Attr(r, name) }

// AttrNames implements starlark.HasAttrs.
func (r *Record) AttrNames() []string { return recordType.AttrNames() }
