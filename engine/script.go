package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"assay/near"
)

// dialect is Starlark with sets and with statements at the top level. Loops
// without a bound and recursion stay off.
var dialect = &syntax.FileOptions{Set: true, TopLevelControl: true}

// maxWork bounds the computation of one script: about two seconds.
const maxWork = 50_000_000

// A program evaluates one script and all that it loads.
type program struct {
	loader      *loader
	predeclared starlark.StringDict
	print       func(text string)
	stop        func(error)                                                       // ends the evaluation with a reason
	extra       func(*starlark.Thread, string) (starlark.StringDict, bool, error) // modules of tests

	mu      sync.Mutex
	threads []*starlark.Thread // that run now, innermost last
	work    uint64             // of the threads that ended
	ended   string             // set: every further thread is cancelled with it
}

// run calls f on a thread that has what is left of the work's bound.
func (p *program) run(name string, f func(*starlark.Thread) (starlark.StringDict, error)) (starlark.StringDict, error) {
	t := &starlark.Thread{Name: name, Load: p.load}
	t.Print = func(_ *starlark.Thread, msg string) { p.print(msg) }
	t.OnMaxSteps = func(t *starlark.Thread) {
		p.stop(Scriptf("script ran %d steps without coming to an end", maxWork))
		t.Cancel("too many steps")
	}
	work := p.push(t)
	defer p.pop()
	t.SetMaxExecutionSteps(maxWork - min(work, maxWork-1))
	return f(t)
}

// push makes t the running thread and returns the work done so far.
func (p *program) push(t *starlark.Thread) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	work := p.work
	for _, u := range p.threads {
		work += u.ExecutionSteps()
	}
	if p.ended != "" {
		t.Cancel(p.ended)
	}
	p.threads = append(p.threads, t)
	return work
}

func (p *program) pop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.threads) - 1
	p.work += p.threads[last].ExecutionSteps()
	p.threads = p.threads[:last]
}

// cancel ends every thread, now and later.
func (p *program) cancel(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = reason
	for _, t := range p.threads {
		t.Cancel(reason)
	}
}

// exec evaluates the top level of src.
func (p *program) exec(name string, src []byte) (starlark.StringDict, error) {
	return p.run(name, func(t *starlark.Thread) (starlark.StringDict, error) {
		globals, err := starlark.ExecFileOptions(dialect, t, name, src, p.predeclared)
		return globals, p.suggest(err)
	})
}

// suggest adds to each unknown name the most similar known one.
func (p *program) suggest(err error) error {
	list := resolve.ErrorList(nil)
	if !errors.As(err, &list) {
		return err
	}
	known := slices.Concat(p.predeclared.Keys(), starlark.Universe.Keys())
	list = slices.Clone(list)
	for i, e := range list {
		if name, ok := strings.CutPrefix(e.Msg, "undefined: "); ok && near.Name(name, known) != "" {
			list[i].Msg += "; did you mean " + near.Name(name, known) + "?"
		}
	}
	return list
}

// call calls the function fn of globals.
func (p *program) call(globals starlark.StringDict, fn string) error {
	_, err := p.run(fn, func(t *starlark.Thread) (starlark.StringDict, error) {
		_, err := starlark.Call(t, globals[fn], nil, nil)
		return nil, err
	})
	return err
}

func (p *program) load(t *starlark.Thread, module string) (starlark.StringDict, error) {
	if p.extra != nil {
		if g, ok, err := p.extra(t, module); ok {
			return g, err
		}
	}
	from := t.CallFrame(0).Pos.Filename()
	return p.loader.load(p, from, module)
}

// program makes the session's program. It ends when the session's context does.
func (s *Session) program(l *loader) *program {
	p := &program{loader: l, predeclared: s.predeclared(), print: s.Log, stop: s.cancel}
	context.AfterFunc(s.ctx, func() { p.cancel(fmt.Sprint(context.Cause(s.ctx))) })
	return p
}

func (s *Session) predeclared() starlark.StringDict {
	d := starlark.StringDict{}
	for name, v := range s.env.Values {
		d[name] = v
	}
	for _, b := range s.env.Builtins {
		d[b.Name] = s.bind(b)
	}
	return d
}
