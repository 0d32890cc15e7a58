package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"assay"
)

// A query asks what a script wants to be run on.
type query struct {
	Path   string            `json:"path"` // absolute
	Name   string            `json:"name"` // what people call it
	Params map[string]string `json:"params"`
}

// A sheet is what a script says of itself before anything starts.
type sheet struct {
	Tests    []string  `json:"tests"`    // functions, in the script's order
	Active   bool      `json:"active"`   // its top level calls a verb
	Images   []string  `json:"images"`   // names and globs
	Driver   string    `json:"driver"`   // empty: the default
	Needs    []need    `json:"needs"`    // abilities, declared or seen in its text
	NoImage  bool      `json:"no_image"` // it launches only machines that are there already
	Variants []variant `json:"variants"` // in the script's order
	Digest   string    `json:"digest"`
}

// A variant is a named set of parameters.
type variant struct {
	Name   string            `json:"name"`
	Params map[string]string `json:"params"`
}

// inspect reads a script's settings. It evaluates the top level up to the first
// call of a verb: settings stand before that.
func inspect(ctx context.Context, env Env, q query) (sheet, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := newSession(ctx, cancel, env, job{Path: q.Path, Cell: assay.Cell{Script: q.Name, Params: q.Params}}, mute{})
	l, err := newLoader(q.Path, q.Name, env.Stdlib)
	if err != nil {
		return sheet{}, err
	}
	defer l.close()
	sh, err := s.inspect(l)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return sh, asScriptError(err)
}

func (s *Session) inspect(l *loader) (sheet, error) {
	name := s.job.Cell.Script
	src, err := l.read("//" + path.Base(name))
	if err != nil {
		return sheet{}, err
	}
	file, err := dialect.Parse(name, src, 0)
	if err != nil {
		return sheet{}, err
	}
	globals, err := s.program(l).exec(name, src)
	active := errors.Is(err, errVerb)
	if err != nil && !active {
		return sheet{}, err
	}
	sh := sheet{Tests: tests(file), Active: active, Digest: l.digest(), NoImage: bootsNone(file, s.env.Builtins)}
	sh.Needs = scanNeeds(file, s.env.Builtins, sh.Tests)
	return sh, sh.settings(name, globals)
}

// tests lists the test functions that file defines at its top level.
func tests(file *syntax.File) []string {
	var names []string
	for _, stmt := range file.Stmts {
		if def, ok := stmt.(*syntax.DefStmt); ok && strings.HasPrefix(def.Name.Name, "test_") && !slices.Contains(names, def.Name.Name) {
			names = append(names, def.Name.Name)
		}
	}
	return names
}

// settings reads the globals that choose the matrix.
func (sh *sheet) settings(script string, globals starlark.StringDict) error {
	for _, x := range []struct {
		name string
		read func(starlark.Value) error
	}{
		{"images", func(v starlark.Value) (err error) { sh.Images, err = words(v); return err }},
		{"driver", func(v starlark.Value) (err error) { sh.Driver, err = word(v); return err }},
		{"variants", sh.readVariants},
		{"needs", func(v starlark.Value) error { return sh.readNeeds(script, v) }},
	} {
		v := globals[x.name]
		if v == nil || v == starlark.None {
			continue
		}
		if err := x.read(v); err != nil {
			return Scriptf("%s: %s: %w", script, x.name, err)
		}
	}
	return nil
}

func word(v starlark.Value) (string, error) {
	s, ok := starlark.AsString(v)
	switch {
	case !ok:
		return "", fmt.Errorf("got %s, want string", v.Type())
	case s == "":
		return "", errors.New(`got "", want a name`)
	}
	return s, nil
}

// maxMatrix bounds each dimension of the matrix.
const maxMatrix = 1000

func words(v starlark.Value) ([]string, error) {
	if s, ok := starlark.AsString(v); ok {
		return []string{s}, nil
	}
	seq, ok := v.(starlark.Sequence)
	if !ok {
		return nil, fmt.Errorf("got %s, want list of strings", v.Type())
	}
	if seq.Len() == 0 || seq.Len() > maxMatrix {
		return nil, fmt.Errorf("got %d, want between 1 and %d", seq.Len(), maxMatrix)
	}
	var out []string
	for x := range starlark.Elements(seq) {
		s, err := word(x)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", len(out), err)
		}
		out = append(out, s)
	}
	return out, nil
}

func (sh *sheet) readVariants(v starlark.Value) error {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		names, err := words(v)
		for _, n := range names {
			sh.Variants = append(sh.Variants, variant{Name: n})
		}
		return err
	}
	if dict.Len() == 0 || dict.Len() > maxMatrix {
		return fmt.Errorf("got %d, want between 1 and %d", dict.Len(), maxMatrix)
	}
	for _, kv := range dict.Items() {
		name, err := word(kv[0])
		if err != nil {
			return err
		}
		params, err := paramsOf(kv[1])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sh.Variants = append(sh.Variants, variant{name, params})
	}
	return nil
}

// readNeeds reads the abilities that a script declares.
func (sh *sheet) readNeeds(script string, v starlark.Value) error {
	list, err := words(v)
	if err != nil {
		return err
	}
	for _, word := range list {
		if err := checkAbility(word, append(abilities(), Existing)); err != nil {
			return err
		}
		sh.Needs = append(sh.Needs, need{Ability: word, Position: script})
	}
	return nil
}

// paramsOf reads one variant's parameters. Numbers and booleans become text, as
// they would on the command line.
func paramsOf(v starlark.Value) (map[string]string, error) {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("got %s, want dict of parameters", v.Type())
	}
	out := map[string]string{}
	for _, kv := range dict.Items() {
		name, err := word(kv[0])
		if err != nil {
			return nil, err
		}
		switch x := kv[1].(type) {
		case starlark.String:
			out[name] = string(x)
		case starlark.Bool, starlark.Int, starlark.Float:
			out[name] = x.String()
		default:
			return nil, fmt.Errorf("%s: got %s, want string, number or bool", name, x.Type())
		}
	}
	return out, nil
}
