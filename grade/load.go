package grade

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// stdlibPrefix begins the name of every module that a policy can load.
const stdlibPrefix = "@stdlib//"

// dialect is what policy modules may use beside plain Starlark: no while, no
// recursion.
var dialect = &syntax.FileOptions{Set: true, TopLevelControl: true}

// Load runs the policy module name of modules and returns the policy that it
// defines in its global "default". Modules load one another by
// load("@stdlib//policy/x.star", …) and see only what Predeclared has.
func Load(ctx context.Context, modules fs.FS, name string) (*Policy, error) {
	l := &loader{ctx: ctx, modules: modules, done: map[string]*module{}}
	globals, err := l.load(stdlibPrefix + name)
	if err != nil {
		return nil, fmt.Errorf("grade: policy: %w", err)
	}
	p, ok := globals["default"].(*Policy)
	if !ok {
		return nil, fmt.Errorf("grade: policy: %s: got no policy named default, want default = policy(…)", name)
	}
	return p, nil
}

// A loader runs each module once.
type loader struct {
	ctx     context.Context
	modules fs.FS
	done    map[string]*module
}

// A module is what running it gave. A nil entry in the loader is one that is
// still running: a load of it is a cycle.
type module struct {
	globals starlark.StringDict
	err     error
}

func (l *loader) load(name string) (starlark.StringDict, error) {
	if m, ok := l.done[name]; ok {
		if m == nil {
			return nil, fmt.Errorf("load: %s: loads itself", name)
		}
		return m.globals, m.err
	}
	l.done[name] = nil
	globals, err := l.run(name)
	l.done[name] = &module{globals, err}
	return globals, err
}

func (l *loader) run(name string) (starlark.StringDict, error) {
	path, ok := strings.CutPrefix(name, stdlibPrefix)
	if !ok {
		return nil, fmt.Errorf("load: got %q, want a module such as %spolicy/default.star", name, stdlibPrefix)
	}
	src, err := fs.ReadFile(l.modules, path)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	thread := newThread(name, minSteps)
	thread.Load = func(_ *starlark.Thread, name string) (starlark.StringDict, error) { return l.load(name) }
	defer context.AfterFunc(l.ctx, func() { thread.Cancel(context.Cause(l.ctx).Error()) })()
	globals, err := starlark.ExecFileOptions(dialect, thread, path, src, Predeclared())
	globals.Freeze()
	return globals, err
}
