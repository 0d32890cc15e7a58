package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay"
	"assay/vm"
)

// DefaultImage is what a script runs on when nobody says otherwise.
const DefaultImage = "debian-12"

// NoImage stands for the image of cells that launch only machines which are there
// already.
const NoImage = "existing"

// Plan returns the cells that Run would run, in order. No machine starts. A
// wrong script is a *ScriptError, an empty plan ErrNothing.
func Plan(ctx context.Context, env Env, opt Options) ([]assay.Cell, error) {
	w, err := Prepare(ctx, env, opt)
	if err != nil {
		return nil, err
	}
	return w.Cells(), nil
}

// A planner turns scripts into jobs.
type planner struct {
	env     Env
	opt     Options
	inspect func(context.Context, query) (sheet, error)
	jobs    []job
	chosen  string // driver, for scripts that name none
}

func plan(ctx context.Context, env Env, opt Options) ([]job, error) {
	p := planner{env: env, opt: opt}
	p.inspect = func(ctx context.Context, q query) (sheet, error) { return inspect(ctx, env, q) }
	if len(opt.Child) > 0 {
		p.inspect = func(ctx context.Context, q query) (sheet, error) { return inspectInChild(ctx, opt.Child, q) }
	}
	sources, err := findScripts(opt.Scripts)
	if err != nil {
		return nil, err
	}
	for _, src := range sources {
		if err := p.script(ctx, src); err != nil {
			return nil, err
		}
	}
	if len(p.jobs) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNothing, p.why(sources))
	}
	return p.jobs, nil
}

func (p *planner) why(sources []source) string {
	switch {
	case p.opt.Filter != "" && len(sources) > 0:
		return fmt.Sprintf("no cell matches %q", p.opt.Filter)
	case len(p.opt.Variants) > 0 && len(sources) > 0:
		return fmt.Sprintf("no variant matches %q", strings.Join(p.opt.Variants, ","))
	}
	return fmt.Sprintf("no scripts with tests in %s", strings.Join(p.opt.Scripts, ", "))
}

// script adds the cells of one script.
func (p *planner) script(ctx context.Context, src source) error {
	sh, err := p.inspect(ctx, query{Path: src.path, Name: src.name, Params: p.opt.Params})
	if err != nil {
		return err
	}
	if src.found && len(sh.Tests) == 0 && !sh.Active {
		return nil // a module that other scripts load
	}
	d, err := p.driver(ctx, sh)
	if err != nil {
		return err
	}
	images, err := p.images(ctx, sh, d)
	if err != nil {
		return &ScriptError{Err: err}
	}
	tests := sh.Tests
	if len(tests) == 0 {
		tests = []string{""}
	}
	for _, test := range tests {
		before := len(p.jobs)
		for _, image := range images {
			for _, v := range p.variants(sh) {
				p.add(src, assay.Cell{Script: src.name, Digest: sh.Digest, Test: test, Image: image, Driver: d.Name(), Variant: v.Name, Params: v.Params})
			}
		}
		if len(p.jobs) == before {
			continue
		}
		if err := p.checkNeeds(ctx, sh, test, d); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) add(src source, c assay.Cell) {
	c.ID = cellID(c)
	c.Params = maps.Clone(c.Params)
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	maps.Copy(c.Params, p.opt.Params)
	if !strings.Contains(c.ID, p.opt.Filter) {
		return
	}
	p.jobs = append(p.jobs, job{RunID: p.opt.RunID, Index: len(p.jobs) + 1, Cell: c, Path: src.path,
		Given: p.opt.Params, Dir: p.opt.Dir, Timeout: p.opt.Timeout, Keep: p.opt.Keep, Placebo: p.opt.Placebo, Fit: p.opt.Fit})
}

func cellID(c assay.Cell) string {
	id := c.Script
	if c.Test != "" {
		id += ":" + c.Test
	}
	id += "@" + c.Image + "/" + c.Driver
	if c.Variant != "" {
		id += "[" + c.Variant + "]"
	}
	return id
}

func (p *planner) images(ctx context.Context, sh sheet, d vm.Driver) ([]string, error) {
	globs := p.opt.Images
	if len(globs) == 0 {
		globs = sh.Images
	}
	switch {
	case len(globs) > 0:
	case sh.NoImage:
		return []string{NoImage}, nil
	default:
		globs = []string{DefaultImage}
	}
	return p.env.images(ctx, d).Match(globs)
}

// variants returns the script's variants that the user asked for, and one
// without a name if the script has none.
func (p *planner) variants(sh sheet) []variant {
	all := sh.Variants
	if len(all) == 0 && len(p.opt.Variants) == 0 {
		return []variant{{}}
	}
	return slices.DeleteFunc(slices.Clone(all), func(v variant) bool { return !p.wanted(v.Name) })
}

func (p *planner) wanted(name string) bool {
	return len(p.opt.Variants) == 0 || slices.ContainsFunc(p.opt.Variants, func(glob string) bool {
		ok, err := filepath.Match(glob, name)
		return glob == name || err == nil && ok
	})
}

// A source is one script file.
type source struct {
	path  string // absolute
	name  string // what people call it: its path below the folder that was given, or its base name
	typed string // the path as the user would type it
	found bool   // in a folder, not named by the user
}

// findScripts lists the files that args name, and the *.star files below the
// folders that they name. Names that two files share become their typed paths.
func findScripts(args []string) ([]source, error) {
	var all []source
	for _, arg := range args {
		some, err := scriptsAt(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return distinct(all), nil
}

func scriptsAt(arg string) ([]source, error) {
	info, err := os.Stat(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Scriptf("script: %s: no such file", arg)
	}
	if err != nil {
		return nil, Scriptf("script: %w", err)
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return nil, Scriptf("script: %w", err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, Scriptf("script: %s: got neither a file nor a folder, want one", arg)
	}
	if !info.IsDir() {
		return []source{{path: abs, name: filepath.Base(abs), typed: filepath.ToSlash(filepath.Clean(arg))}}, nil
	}
	var found []source
	err = filepath.WalkDir(abs, func(file string, d fs.DirEntry, err error) error {
		hidden := file != abs && strings.ContainsAny(d.Name()[:1], "._")
		switch {
		case err != nil:
			return err
		case d.IsDir() && hidden:
			return fs.SkipDir
		case hidden || !d.Type().IsRegular() || filepath.Ext(file) != ".star":
			return nil
		}
		rel, err := filepath.Rel(abs, file)
		found = append(found, source{path: file, name: filepath.ToSlash(rel), typed: filepath.ToSlash(filepath.Join(arg, rel)), found: true})
		return err
	})
	if err != nil {
		return nil, Scriptf("script: %w", err)
	}
	return found, nil
}

// distinct drops files that were named twice and gives those that share a name
// their longer one.
func distinct(all []source) []source {
	var out []source
	count := map[string]int{}
	for _, s := range all {
		if !slices.ContainsFunc(out, func(o source) bool { return o.path == s.path }) {
			out = append(out, s)
			count[s.name]++
		}
	}
	for i, s := range out {
		if count[s.name] > 1 {
			out[i].name = s.typed
		}
	}
	return out
}
