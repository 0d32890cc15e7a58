package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"assay/near"
	"assay/vm"
)

// Existing is the need for a driver that can use a machine which somebody else
// made; a word beside those of vm.Capability.
const Existing = "existing"

// A Need says that a call of a verb fails on drivers without an ability.
type Need struct {
	Ability string // a vm.Capability, or Existing
	Param   string // only calls that give this argument; empty: every call
	Type    string // only if the argument is what a verb returned that has this result
	NoImage bool   // calls that give the argument boot no image
}

// Needing returns b with what its calls need. A script that makes such a call in
// any case is refused before anything boots, where the driver lacks it.
func (b Builtin) Needing(needs ...Need) Builtin {
	b.needs = needs
	return b
}

// A need is one that a script has.
type need struct {
	Ability  string `json:"ability"`
	Test     string `json:"test,omitempty"` // empty: all of them
	Position string `json:"position"`       // skill.star:12
}

// abilities lists what machines may be able to do.
func abilities() []string {
	var names []string
	for _, c := range vm.All() {
		names = append(names, string(c))
	}
	return names
}

// checkAbility says whether a word is one of names, which are abilities.
func checkAbility(word string, names []string) error {
	if slices.Contains(names, word) {
		return nil
	}
	if n := near.Name(word, names); n != "" {
		return fmt.Errorf("got %q, want an ability; did you mean %q?", word, n)
	}
	return fmt.Errorf("got %q, want one of %s", word, strings.Join(names, ", "))
}

// Lack says why machines of a driver have no such ability, and what can be done
// instead; "" if they have it. What this host's version can do counts; where the
// driver cannot be used here the answer is "" too, for that is another trouble.
func Lack(ctx context.Context, d vm.Driver, all []vm.Driver, ability string) string {
	if ability == Existing {
		if _, ok := d.(vm.Adopter); ok {
			return ""
		}
		return lack(d, vm.Info{}, "", all, ability)
	}
	info, err := d.Probe(ctx)
	if err != nil || slices.Contains(info.Capabilities, vm.Capability(ability)) {
		return ""
	}
	card := cardOf(d)
	instead := cmp.Or(info.Lacks[vm.Capability(ability)], card.Instead[vm.Capability(ability)])
	if instead == "" && slices.Contains(card.Capabilities, vm.Capability(ability)) {
		instead = "a newer version has it"
	}
	return lack(d, info, instead, all, ability)
}

// Usable returns why a driver that a script names cannot be used on this host.
func (s *Session) Usable(ctx context.Context, driver string) error {
	d, err := s.env.driver(driver)
	if err == nil {
		_, err = d.Probe(ctx)
	}
	return err
}

// lack puts into words that a driver lacks an ability.
func lack(d vm.Driver, info vm.Info, instead string, all []vm.Driver, ability string) string {
	text := d.Name()
	if info.Version != "" {
		text += " (" + info.Version + ")"
	}
	text += " lacks " + ability
	if instead != "" {
		text += "; " + instead
	}
	if names := slices.DeleteFunc(having(all, ability), func(n string) bool { return n == d.Name() }); len(names) > 0 {
		text += "; drivers that have it: " + strings.Join(names, ", ")
	}
	return text
}

// having names the drivers whose newest versions have an ability.
func having(all []vm.Driver, ability string) (names []string) {
	for _, d := range all {
		_, adopts := d.(vm.Adopter)
		if ability == Existing && adopts || slices.Contains(cardOf(d).Capabilities, vm.Capability(ability)) {
			names = append(names, d.Name())
		}
	}
	return names
}

// cardOf returns a driver's card; one without is known by its machines only.
func cardOf(d vm.Driver) vm.Card {
	if c, ok := d.(vm.Carder); ok {
		return c.Card()
	}
	return vm.Card{}
}

// checkNeeds refuses a test whose driver lacks what it needs in any case.
func (p *planner) checkNeeds(ctx context.Context, sh sheet, test string, d vm.Driver) error {
	for _, n := range sh.Needs {
		if n.Test != "" && n.Test != test {
			continue
		}
		if why := Lack(ctx, d, p.env.Drivers, n.Ability); why != "" {
			return &ScriptError{Position: n.Position,
				Err: fmt.Errorf("needs %s: %s; a script that can do without asks first: if vm.can(%q)", n.Ability, why, n.Ability)}
		}
	}
	return nil
}
