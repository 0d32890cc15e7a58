package builtins

import (
	"fmt"

	"go.starlark.net/starlark"

	"assay"
	"assay/engine"
)

// A Noise is a change that was left out of a diff, as scripts see it.
type Noise struct{ noise assay.Noise }

var noiseType = &engine.Type{
	Name: "Noise",
	Doc:  "A change that was left out of a diff, because machines of the image do it by themselves.",
	Attrs: []engine.Attr{
		engine.Field("change", "Change", "The change.", func(n *Noise) starlark.Value { return &Change{n.noise.Change} }),
		engine.Field("seen", "int", "How many placebos did it …", func(n *Noise) starlark.Value { return starlark.MakeInt(n.noise.Seen) }),
		engine.Field("of", "int", "… of how many that lasted as long.", func(n *Noise) starlark.Value { return starlark.MakeInt(n.noise.Of) }),
	},
}

// String returns OP KIND KEY and how often it was seen.
func (n *Noise) String() string {
	return fmt.Sprintf("%s (in %d of %d placebos)", &Change{n.noise.Change}, n.noise.Seen, n.noise.Of)
}

// Type returns "Noise".
func (n *Noise) Type() string { return "Noise" }

// Freeze does nothing: noise never changes.
func (n *Noise) Freeze() {}

// Truth returns True.
func (n *Noise) Truth() starlark.Bool { return true }

// Hash fails: noise is not a key.
func (n *Noise) Hash() (uint32, error) { return 0, unhashable(n) }

// Attr implements starlark.HasAttrs.
func (n *Noise) Attr(name string) (starlark.Value, error) { return noiseType.Attr(n, name) }

// AttrNames implements starlark.HasAttrs.
func (n *Noise) AttrNames() []string { return noiseType.AttrNames() }
