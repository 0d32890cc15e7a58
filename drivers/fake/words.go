package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/expand"
)

// A call is one simple command on its way through the guest.
type call struct {
	*shell
	ctx    context.Context
	args   []string // word and arguments
	dir    string
	env    expand.Environ
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// words are the programs of the guest, as if they stood in /usr/bin. Each
// returns its exit code. The function breaks a cycle: some words run others.
func words() map[string]func(*call) int {
	all := map[string]func(*call) int{
		"[": builtin, "echo": builtin, "printf": builtin, "test": builtin, "apt-get": aptGet, "apt": aptGet, "awk": standIn, "base64": base64Word, "bash": shellWord,
		"basename": basename, "cat": cat, "column": standIn, "chmod": chmod, "chown": chown, "cp": cp,
		"crontab": crontab, "cut": cut, "date": date, "dirname": dirname, "disown": yes,
		"dpkg": dpkg, "dpkg-query": dpkg, "env": envWord, "false": no, "find": find,
		"grep": grep, "head": head, "hostname": hostname, "id": id, "jq": standIn,
		"kill": killWord, "ln": ln, "logger": yes, "ls": ls, "mkdir": mkdir,
		"mktemp": mktemp, "mv": mv, "nohup": prefix, "pgrep": pgrep, "pkill": pkill,
		"ps": ps, "readlink": readlink, "rm": rm, "rmdir": rm, "sed": standIn, "seq": seq,
		"setsid": prefix, "sh": shellWord, "sha256sum": sha256sum, "sleep": sleep,
		"sort": sortWord, "sudo": sudo, "sync": syncWord, "tail": tail, "tee": tee,
		"timeout": timeout, "touch": touch, "tr": tr, "tree": find, "true": yes, "uname": uname,
		"wc": wc, "which": which, "whoami": whoami,
	}
	maps.Copy(all, adminWords())
	return all
}

// needsPackage names the words that exist only when a package is installed.
var needsPackage = map[string]string{"jq": "jq", "tree": "tree"}

// builtin is a word that the shell knows by itself.
func builtin(c *call) int {
	return c.interpret(c.args[0], c.args[0]+" \"$@\"", c.args[1:])
}

func yes(*call) int { return 0 }
func no(*call) int  { return 1 }

// errorf prints a complaint in the way of Unix programs, and returns 1.
func (c *call) errorf(format string, args ...any) int {
	fmt.Fprintf(c.stderr, c.args[0]+": "+format+"\n", args...)
	return 1
}

// fail prints an error of the disk, and returns 1.
func (c *call) fail(err error) int { return c.errorf("%v", plain(err)) }

// path makes p absolute, and neat unless "..", which may cross a link, is in it.
func (c *call) path(p string) string {
	p = abs(c.dir, p)
	if strings.Contains(p, "..") {
		return p
	}
	return path.Clean(p)
}

// flags splits the leading options from the operands: "-rf" sets r and f.
func (c *call) flags() (set map[rune]bool, rest []string) {
	set = map[rune]bool{}
	rest = c.args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			break
		}
		for _, r := range strings.TrimLeft(arg, "-") {
			set[r] = true
		}
	}
	return set, rest
}

// spawn runs the command as a process of its own, and returns its exit code:
// 127 if there is no such program, 126 if it may not be run.
func (c *call) spawn() int {
	ctx, pid, err := c.g.procs.start(c.ctx, c.user.name, c.pid, c.group, c.args)
	if err != nil {
		return c.errorf("%v", err)
	}
	defer c.g.procs.end(pid)
	sh := *c.shell
	sh.pid = pid
	out := &sticky{w: c.stdout}
	c.ctx, c.shell, c.stdout = ctx, &sh, out
	code := c.do()
	if failed := out.err.Load(); failed != nil && code == 0 {
		code = c.errorf("write error: %v", plain(*failed))
	}
	if k := (killed{}); errors.As(context.Cause(ctx), &k) {
		return 128 + signals[k.signal]
	}
	return code
}

// sticky remembers that its writer failed: words need not look.
type sticky struct {
	w   io.Writer
	err atomic.Pointer[error]
}

func (s *sticky) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err.Store(&err)
	}
	return n, err
}

// signals are the numbers of the signals that a guest knows.
var signals = map[string]int{"SIGHUP": 1, "SIGINT": 2, "SIGKILL": 9, "SIGTERM": 15}

// do runs the command within the process that is there.
func (c *call) do() int {
	word, script, code := c.lookup(c.args[0])
	switch {
	case code == 127 && strings.Contains(c.args[0], "/"):
		fmt.Fprintf(c.stderr, "%s: No such file or directory\n", c.args[0])
		return code
	case code == 127:
		fmt.Fprintf(c.stderr, "%s: command not found\n", c.args[0])
		return code
	case code != 0:
		fmt.Fprintf(c.stderr, "%s: Permission denied\n", c.args[0])
		return code
	case word != nil:
		return word(c)
	}
	return c.script(script)
}

// lookup finds what a command name stands for: a word, or a script's path.
func (c *call) lookup(name string) (word func(*call) int, script string, code int) {
	base := path.Base(name)
	inPath := !strings.Contains(name, "/") || strings.HasPrefix(name, "/bin/") || strings.HasPrefix(name, "/usr/bin/")
	if w := words()[base]; w != nil && inPath && c.g.has(needsPackage[base]) {
		return w, "", 0
	}
	var tries []string
	if strings.Contains(name, "/") {
		tries = []string{c.path(name)}
	} else {
		for dir := range strings.SplitSeq(c.env.Get("PATH").String(), ":") {
			tries = append(tries, path.Join(dir, name))
		}
	}
	for _, p := range tries {
		st, err := c.g.disk.stat(p, true)
		switch {
		case err != nil || st.IsDir():
		case !st.may(c.user.uid, 1) || st.Mode().Perm()&0o111 == 0:
			code = 126
		default:
			return nil, p, 0
		}
	}
	if code == 0 {
		code = 127
	}
	return nil, "", code
}

// script runs a file of shell; other interpreters are not in this guest.
func (c *call) script(p string) int {
	src, err := c.g.disk.read(p, c.user.uid)
	if err != nil {
		return c.fail(err)
	}
	if code, is := c.runAgent(src); is {
		return code
	}
	if bytes.HasPrefix(src, []byte("\x7fELF")) {
		fmt.Fprintf(c.stderr, "%s: cannot execute binary file: Exec format error\n", c.args[0])
		return 126
	}
	name := p
	if strings.Contains(c.args[0], "/") {
		name = c.args[0]
	}
	first, _, _ := strings.Cut(string(src), "\n")
	if program, ok := strings.CutPrefix(first, "#!"); ok && !isShell(program) {
		fmt.Fprintf(c.stderr, "%s: %s: bad interpreter: No such file or directory\n", name, program)
		return 126
	}
	return c.interpret(name, string(src), c.args[1:])
}

// isShell reports whether a #! line names a shell: "/bin/sh -e", "/usr/bin/env bash".
func isShell(program string) bool {
	for _, word := range strings.Fields(program) {
		switch path.Base(word) {
		case "sh", "bash", "dash":
			return true
		}
	}
	return false
}

// interpret runs shell source with the call's streams, folder and environment.
func (c *call) interpret(name, src string, args []string) int {
	sub := *c.shell
	sub.depth++
	sub.stdin, sub.stdout, sub.stderr = c.stdin, c.stdout, c.stderr
	code, err := sub.run(c.ctx, name, src, c.dir, c.env, args)
	if err != nil {
		return 137 // killed: the only error that the guest's own doing can cause
	}
	return code
}

// again runs the rest of the line as a command: what env, nohup and sudo do.
func (c *call) again(args []string) int {
	if len(args) == 0 {
		return 0
	}
	next := *c
	next.args = args
	return next.do()
}
