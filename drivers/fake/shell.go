package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// maxDepth is how many scripts may run one another.
const maxDepth = 20

// A shell runs lines of shell inside one guest. It reaches the guest's disk and
// the words of this package, never the host.
type shell struct {
	g      *system
	user   user
	group  int // of the exec; see processes
	pid    int // of the process that this shell is
	depth  int
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// run interprets src with the arguments after it. It returns the exit code.
func (s *shell) run(ctx context.Context, name, src, dir string, env expand.Environ, args []string) (int, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(src), name)
	if err != nil {
		fmt.Fprintf(s.stderr, "%v\n", err)
		return 2, nil
	}
	if s.depth > maxDepth {
		fmt.Fprintln(s.stderr, name+": too many scripts inside one another")
		return 126, nil
	}
	if forbidden(file) {
		fmt.Fprintln(s.stderr, name+": process substitution is more than this guest's shell can do")
		return 2, nil
	}
	background := ownPID(file)
	r, err := s.runner(dir, env, args)
	if err != nil {
		return 0, err
	}
	code, err := exitCode(r.Run(ctx, file))
	if background {
		s.settle(ctx)
	}
	return code, err
}

// settle gives what was sent into the background the time to get into the
// process table: the interpreter starts it in a goroutine, without a word.
func (s *shell) settle(ctx context.Context) {
	for range 50 {
		for _, p := range s.g.procs.list(s.group) {
			if p.PPID == s.pid {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// runner returns an interpreter whose every way out leads into the guest.
func (s *shell) runner(dir string, env expand.Environ, args []string) (*interp.Runner, error) {
	r, err := interp.New(
		interp.Env(withPID{env, s.pid}),
		interp.Dir("/"),
		interp.Params(append([]string{"--"}, args...)...),
		interp.StdIO(s.stdin, s.stdout, s.stderr),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.StatHandler(s.stat),
		interp.ReadDirHandler2(s.readDir),
		interp.AccessHandler(s.access),
	)
	if err != nil {
		return nil, fmt.Errorf("shell: %w", err)
	}
	r.Dir = dir // the option looks for it on the host
	return r, nil
}

// forbidden finds process substitution, which the interpreter does with named
// pipes on the host.
func forbidden(file *syntax.File) (found bool) {
	syntax.Walk(file, func(n syntax.Node) bool {
		_, bad := n.(*syntax.ProcSubst)
		found = found || bad
		return !found
	})
	return found
}

// pidVariable stands for $$ in a guest: the interpreter's own would be the host's.
const pidVariable = "ASSAY_FAKE_PID"

// withPID is an environment that knows the shell's own pid.
type withPID struct {
	expand.Environ
	pid int
}

func (e withPID) Get(name string) expand.Variable {
	if name == pidVariable {
		return expand.Variable{Set: true, Kind: expand.String, Str: strconv.Itoa(e.pid)}
	}
	return e.Environ.Get(name)
}

// ownPID makes $$ the guest's, and reports whether anything goes into the background.
func ownPID(file *syntax.File) (background bool) {
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			if n.Param != nil && n.Param.Value == "$" {
				n.Short, n.Param.Value = false, pidVariable
			}
		case *syntax.Stmt:
			background = background || n.Background
		}
		return true
	})
	return background
}

// exitCode tells the guest's exit from an error of ours.
func exitCode(err error) (int, error) {
	if status := interp.ExitStatus(0); errors.As(err, &status) {
		return int(status), nil
	}
	return 0, err
}

// call turns the builtins that would look at the host into words of our own.
func (s *shell) call(_ context.Context, args []string) ([]string, error) {
	switch args[0] {
	case "command":
		if len(args) > 1 && (args[1] == "-v" || args[1] == "-V") {
			return append([]string{"which"}, args[2:]...), nil
		}
	case "type", "hash":
		return append([]string{"which"}, slices.DeleteFunc(slices.Clone(args[1:]), func(a string) bool { return strings.HasPrefix(a, "-") })...), nil
	case "pwd":
		return []string{"pwd"}, nil
	case "kill":
		return append([]string{"/usr/bin/kill"}, args[1:]...), nil
	case "disown", "jobs", "umask", "ulimit", "history":
		return []string{"/usr/bin/true"}, nil
	case "source", ".":
		if len(args) > 1 && !strings.Contains(args[1], "/") {
			args = slices.Clone(args)
			args[1] = "./" + args[1]
		}
	}
	return args, nil
}

// exec runs one simple command: a word of this package, or a script on the disk.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	c := &call{
		shell: s, ctx: ctx, args: args, dir: hc.Dir, env: hc.Env,
		stdin: hc.Stdin, stdout: hc.Stdout, stderr: hc.Stderr,
	}
	if code := c.spawn(); code != 0 {
		return interp.ExitStatus(code)
	}
	return ctx.Err()
}

func (s *shell) open(ctx context.Context, p string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	p = abs(interp.HandlerCtx(ctx).Dir, p)
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		r, err := s.g.open(p, s.user.uid)
		return &openFile{Reader: r}, err
	}
	if p == "/dev/null" || p == "/dev/tty" {
		return &openFile{}, nil
	}
	n, err := s.g.disk.open(p, perm&^0o022, flag&os.O_TRUNC != 0, s.user.uid)
	if err != nil {
		return nil, err
	}
	return &openFile{disk: s.g.disk, node: n}, nil
}

// An openFile is a redirection's end: it writes at the file's end, or nowhere
// without a node, and reads what was there when it was opened.
type openFile struct {
	io.Reader
	disk *disk
	node *node
}

func (f *openFile) Write(p []byte) (int, error) {
	if f.node == nil {
		return len(p), nil
	}
	if err := f.disk.append(f.node, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *openFile) Read(p []byte) (int, error) {
	if f.Reader == nil {
		return 0, io.EOF
	}
	return f.Reader.Read(p)
}

func (f *openFile) Close() error { return nil }

func (s *shell) stat(_ context.Context, name string, follow bool) (fs.FileInfo, error) {
	st, err := s.g.disk.stat(name, follow)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *shell) readDir(_ context.Context, p string) ([]fs.DirEntry, error) {
	list, err := s.g.disk.list(p, s.user.uid)
	entries := make([]fs.DirEntry, len(list))
	for i, e := range list {
		entries[i] = e
	}
	return entries, err
}

func (s *shell) access(_ context.Context, p string, mode interp.AccessMode) error {
	st, err := s.g.disk.stat(p, true)
	if err != nil {
		return err
	}
	if !st.may(s.user.uid, fs.FileMode(mode)) {
		return pathError("access", p, fs.ErrPermission)
	}
	return nil
}

// abs makes p absolute from dir, without touching "..".
func abs(dir, p string) string {
	if path.IsAbs(p) {
		return p
	}
	return dir + "/" + p
}

// A gate passes writes on until it is shut: what outlives an exec may not write
// into it any more.
type gate struct {
	mu sync.Mutex
	w  io.Writer
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w == nil {
		return len(p), nil
	}
	return g.w.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = nil
}
