package builtins

import (
	"context"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.starlark.net/starlark"

	"assay"
	"assay/capture"
	"assay/engine"
)

type diffArgs struct {
	Before *Capture `star:"before" help:"the earlier capture"`
	After  *Capture `star:"after" help:"the later capture"`
	Ignore []string `star:"ignore?" help:"globs over paths and other keys, or over kind:key; ** crosses folders"`
	Noise  bool     `star:"noise?" help:"leave out what machines of the image do by themselves"`
}

var diffCaptures = engine.Func("diff", "Changes",
	"Compares two captures: what was added, removed or modified. What a machine that does nothing does as\n"+
		"well is left out: its twin showed it, or earlier placebos of the image.",
	diffArgs{Noise: true},
	func(ctx context.Context, s *engine.Session, a diffArgs) (starlark.Value, error) {
		s.Describe(fmt.Sprintf("capture %d and %d of %s", a.Before.record.ID, a.After.record.ID, a.After.machine.name), a.After.machine.vm.ID())
		changes, ignored, err := capture.Diff(a.Before.capture, a.After.capture, capture.DiffOptions{Ignore: a.Ignore})
		if err != nil {
			return nil, &engine.ScriptError{Err: err}
		}
		c := compare(ctx, s, a.Before, a.After, changes, a.Noise)
		c.ignored = ignored
		c.keep(s, a.Before, a.After)
		return c, nil
	})

// Changes is what two captures do not share, or some of it, as scripts see it:
// a list of Change that knows where it came from.
type Changes struct {
	machine *Machine
	diff    int // id of the diff
	ignored int
	changes []assay.Change
	noise   []assay.Noise // what was left out
}

var changesType = &engine.Type{
	Name: "Changes",
	Doc:  "A list of Change, sorted by kind and key: what a diff found, or some of it. It is true if there is any.",
	Attrs: []engine.Attr{
		engine.Field("added", "Changes", "Those whose record is new.", func(c *Changes) starlark.Value { return c.op(assay.Added) }),
		engine.Field("removed", "Changes", "Those whose record is gone.", func(c *Changes) starlark.Value { return c.op(assay.Removed) }),
		engine.Field("modified", "Changes", "Those whose record is not what it was.", func(c *Changes) starlark.Value { return c.op(assay.Modified) }),
		engine.Field("ignored", "int", "How many changes the globs left out.", func(c *Changes) starlark.Value { return starlark.MakeInt(c.ignored) }),
		engine.Field("noise", "list[Noise]", "What was left out because machines of the image do it by themselves.", func(c *Changes) starlark.Value { return c.noiseList() }),
		engine.Field("summary", "list[str]", "The changes as people read them: all files of a package are one line.", func(c *Changes) starlark.Value { return c.summary() }),
		engine.Field("machine", "Machine", "The machine that changed.", func(c *Changes) starlark.Value { return c.machine }),
		engine.Method("of", "Changes", "Those of one kind.", kindArgs{},
			func(c *Changes, a kindArgs) (starlark.Value, error) {
				return c.where(func(x assay.Change) bool { return x.Kind == a.Kind }), nil
			}),
		engine.Method("matching", "Changes", "Those whose key matches a glob.", globArgs{},
			func(c *Changes, a globArgs) (starlark.Value, error) { return c.matching(a.Glob) }),
	},
}

type globArgs struct {
	Glob string `star:"glob" help:"such as /etc/**"`
}

func (c *Changes) where(keep func(assay.Change) bool) *Changes {
	some := &Changes{machine: c.machine, diff: c.diff, ignored: c.ignored, noise: c.noise}
	for _, x := range c.changes {
		if keep(x) {
			some.changes = append(some.changes, x)
		}
	}
	return some
}

func (c *Changes) op(op assay.Op) *Changes {
	return c.where(func(x assay.Change) bool { return x.Op == op })
}

func (c *Changes) matching(glob string) (starlark.Value, error) {
	if !doublestar.ValidatePattern(glob) {
		return nil, engine.Scriptf("for parameter glob: got %q, want a glob such as /etc/**", glob)
	}
	return c.where(func(x assay.Change) bool { return doublestar.MatchUnvalidated(glob, x.Key) }), nil
}

func (c *Changes) summary() *starlark.List {
	var lines []string
	for _, l := range capture.Fold(c.changes) {
		lines = append(lines, string(l.Op)+" "+l.Kind+" "+l.Text)
	}
	return stringList(lines)
}

func (c *Changes) noiseList() *starlark.List {
	var all []starlark.Value
	for _, n := range c.noise {
		all = append(all, &Noise{n})
	}
	return frozenList(all)
}

// String returns what print shows.
func (c *Changes) String() string {
	return fmt.Sprintf("<%d changes: %d added, %d removed, %d modified>", len(c.changes),
		len(c.op(assay.Added).changes), len(c.op(assay.Removed).changes), len(c.op(assay.Modified).changes))
}

// Type returns "Changes".
func (c *Changes) Type() string { return "Changes" }

// Freeze does nothing: changes never change.
func (c *Changes) Freeze() {}

// Truth returns whether there is any change.
func (c *Changes) Truth() starlark.Bool { return len(c.changes) > 0 }

// Hash fails: changes are not a key.
func (c *Changes) Hash() (uint32, error) { return 0, unhashable(c) }

// Len implements starlark.Sequence.
func (c *Changes) Len() int { return len(c.changes) }

// Index implements starlark.Indexable.
func (c *Changes) Index(i int) starlark.Value { return &Change{c.changes[i]} }

// Iterate implements starlark.Iterable.
func (c *Changes) Iterate() starlark.Iterator { return &changesIterator{all: c} }

// Attr implements starlark.HasAttrs.
func (c *Changes) Attr(name string) (starlark.Value, error) { return changesType.Attr(c, name) }

// AttrNames implements starlark.HasAttrs.
func (c *Changes) AttrNames() []string { return changesType.AttrNames() }

type changesIterator struct {
	all  *Changes
	next int
}

// Next implements starlark.Iterator.
func (it *changesIterator) Next(p *starlark.Value) bool {
	if it.next == it.all.Len() {
		return false
	}
	*p = it.all.Index(it.next)
	it.next++
	return true
}

// Done implements starlark.Iterator.
func (it *changesIterator) Done() {}

// A Change is one record that two captures do not share, as scripts see it.
type Change struct{ change assay.Change }

var changeType = &engine.Type{
	Name: "Change",
	Doc:  "One record that two captures do not share.",
	Attrs: []engine.Attr{
		engine.Field("kind", "str", `What it is about: "file", "package", …`, func(c *Change) starlark.Value { return starlark.String(c.change.Kind) }),
		engine.Field("key", "str", `The record's name among its kind: a path, "dpkg:jq", …`, func(c *Change) starlark.Value { return starlark.String(c.change.Key) }),
		engine.Field("op", "str", `"added", "removed" or "modified".`, func(c *Change) starlark.Value { return starlark.String(c.change.Op) }),
		engine.Field("before", "dict[str, str]", "The record's attributes before; empty if it was added.", func(c *Change) starlark.Value { return attrDict(c.change.Before) }),
		engine.Field("after", "dict[str, str]", "The record's attributes after; empty if it was removed.", func(c *Change) starlark.Value { return attrDict(c.change.After) }),
		engine.Field("fields", "list[str]", "The attributes that differ, sorted; of a modified record.", func(c *Change) starlark.Value { return stringList(c.change.Fields) }),
		engine.Field("text", "str", "The unified diff of a small text file, or empty.", func(c *Change) starlark.Value { return starlark.String(c.change.Text) }),
		engine.Field("group", "str", `The larger change that it is part of: "package jq"; or empty.`, func(c *Change) starlark.Value { return starlark.String(c.change.Group) }),
	},
}

// String returns OP KIND KEY.
func (c *Change) String() string {
	return strings.Join([]string{string(c.change.Op), c.change.Kind, c.change.Key}, " ")
}

// Type returns "Change".
func (c *Change) Type() string { return "Change" }

// Freeze does nothing: a change never changes.
func (c *Change) Freeze() {}

// Truth returns True.
func (c *Change) Truth() starlark.Bool { return true }

// Hash fails: a change is not a key.
func (c *Change) Hash() (uint32, error) { return 0, unhashable(c) }

// Attr implements starlark.HasAttrs.
func (c *Change) Attr(name string) (starlark.Value, error) { return changeType.Attr(c, name) }

// AttrNames implements starlark.HasAttrs.
func (c *Change) AttrNames() []string { return changeType.AttrNames() }
