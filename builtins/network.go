package builtins

import (
	"context"
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"assay/engine"
	"assay/vm"
)

type allowArgs struct {
	Hosts []string `star:"*hosts" help:"names of hosts, without port"`
}

var allow = engine.Func("allow", "Network", "A network that reaches only some hosts. It is what launch takes as network.", allowArgs{},
	func(_ context.Context, _ *engine.Session, a allowArgs) (starlark.Value, error) {
		if len(a.Hosts) == 0 {
			return nil, engine.Scriptf("allow: got no hosts, want at least one; for none write network = \"none\"")
		}
		for _, h := range a.Hosts {
			if h == "" || len(h) > 253 || strings.ContainsAny(h, "/: \t\n") {
				return nil, engine.Scriptf("allow: got %q, want name of a host such as \"pypi.org\"", h)
			}
		}
		return Network{Mode: vm.NetworkAllow, Hosts: a.Hosts}, nil
	}).Value()

// A Network is what a machine may reach, as scripts see it.
type Network vm.Network

var networkType = &engine.Type{Name: "Network", Doc: "What a machine may reach. allow(…) makes one."}

// String returns allow(HOSTS).
func (n Network) String() string { return "allow(" + strings.Join(n.Hosts, ", ") + ")" }

// Type returns "Network".
func (n Network) Type() string { return "Network" }

// Freeze does nothing: a network never changes.
func (n Network) Freeze() {}

// Truth returns True.
func (n Network) Truth() starlark.Bool { return true }

// Hash makes networks usable as keys.
func (n Network) Hash() (uint32, error) { return starlark.String(n.String()).Hash() }

// network is launch's parameter.
type network vm.Network

// StarType implements engine.StarType.
func (network) StarType() string { return "str | Network" }

// Unpack implements starlark.Unpacker.
func (n *network) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case Network:
		*n = network(v)
		return nil
	case starlark.String:
		if mode := vm.NetworkMode(v); mode == vm.NetworkNone || mode == vm.NetworkOpen {
			n.Mode = mode
			return nil
		}
		return fmt.Errorf("got %s, want \"none\", \"open\" or allow(HOST…)", v)
	}
	return fmt.Errorf("got %s, want \"none\", \"open\" or allow(HOST…)", v.Type())
}
