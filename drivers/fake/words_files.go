package fake

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

func mkdir(c *call) int {
	set, dirs := c.flags()
	for _, p := range dirs {
		make := c.g.disk.mkdir
		if set['p'] {
			make = c.g.disk.mkdirAll
		}
		if err := make(c.path(p), 0o755, c.user.uid); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

// rm removes files, and folders with -r. As rmdir it removes empty folders only.
func rm(c *call) int {
	set, paths := c.flags()
	recursive := set['r'] || set['R'] || set['d']
	code := 0
	for _, p := range paths {
		st, err := c.g.disk.stat(c.path(p), false)
		if err == nil && st.IsDir() != (recursive && st.IsDir() || path.Base(c.args[0]) == "rmdir") {
			err = pathError("remove", p, errIsDir(st.IsDir()))
		}
		if err == nil {
			err = c.g.disk.remove(c.path(p), recursive, c.user.uid)
		}
		if err != nil && !set['f'] {
			code = c.fail(err)
		}
	}
	return code
}

func touch(c *call) int {
	_, paths := c.flags()
	for _, p := range paths {
		n, err := c.g.disk.open(c.path(p), 0o644, false, c.user.uid)
		if err == nil {
			err = c.g.disk.append(n, nil)
		}
		if err != nil {
			return c.fail(err)
		}
	}
	return 0
}

func chmod(c *call) int {
	rest := slices.DeleteFunc(slices.Clone(c.args[1:]), func(a string) bool { return a == "-R" })
	if len(rest) < 2 {
		return c.errorf("missing operand")
	}
	for _, p := range rest[1:] {
		st, err := c.g.disk.stat(c.path(p), true)
		if err == nil {
			err = c.g.disk.chmod(c.path(p), modeOf(rest[0], st.Mode()), c.user.uid)
		}
		if err != nil {
			return c.fail(err)
		}
	}
	return 0
}

// modeOf reads an octal mode, or a symbolic one such as "u+x" over the old.
func modeOf(s string, old fs.FileMode) fs.FileMode {
	if n, err := strconv.ParseUint(s, 8, 12); err == nil {
		mode := fs.FileMode(n) & fs.ModePerm
		if n&0o4000 != 0 {
			mode |= fs.ModeSetuid
		}
		if n&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
		return mode
	}
	at := strings.IndexAny(s, "+-=")
	if at < 0 {
		return old
	}
	who, bits := s[:at], fs.FileMode(0)
	for _, r := range s[at+1:] {
		bits |= map[rune]fs.FileMode{'r': 0o444, 'w': 0o222, 'x': 0o111, 's': fs.ModeSetuid}[r]
	}
	if who != "" && who != "a" {
		mask := fs.ModeSetuid
		for _, r := range who {
			mask |= map[rune]fs.FileMode{'u': 0o700, 'g': 0o070, 'o': 0o007}[r]
		}
		bits &= mask
	}
	if s[at] == '-' {
		return old &^ bits
	}
	return old | bits
}

func chown(c *call) int {
	set, rest := c.flags()
	if len(rest) < 2 {
		return c.errorf("missing operand")
	}
	name, _, _ := strings.Cut(rest[0], ":")
	u, ok := c.g.user(name)
	if !ok {
		return c.errorf("invalid user: %q", rest[0])
	}
	for _, p := range rest[1:] {
		own := func(p string, _ info) error { return c.g.disk.chown(p, u.uid, c.user.uid) }
		var err error
		if set['R'] {
			err = c.g.disk.visit(c.path(p), own)
		} else {
			err = own(c.path(p), info{})
		}
		if err != nil {
			return c.fail(err)
		}
	}
	return 0
}

func ln(c *call) int {
	set, rest := c.flags()
	if !set['s'] || len(rest) != 2 {
		return c.errorf("only \"ln -s TARGET LINK\" is known here")
	}
	if set['f'] {
		_ = c.g.disk.remove(c.path(rest[1]), false, c.user.uid)
	}
	if err := c.g.disk.symlink(rest[0], c.into(rest[1], rest[0]), c.user.uid); err != nil {
		return c.fail(err)
	}
	return 0
}

// into returns where src lands: in dst if that is a folder, else at dst.
func (c *call) into(dst, src string) string {
	if st, err := c.g.disk.stat(c.path(dst), true); err == nil && st.IsDir() {
		return path.Join(c.path(dst), path.Base(src))
	}
	return c.path(dst)
}

func mv(c *call) int {
	_, rest := c.flags()
	if len(rest) < 2 {
		return c.errorf("missing operand")
	}
	dst := rest[len(rest)-1]
	for _, src := range rest[:len(rest)-1] {
		if err := c.g.disk.rename(c.path(src), c.into(dst, src), c.user.uid); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

func cp(c *call) int {
	_, rest := c.flags()
	if len(rest) < 2 {
		return c.errorf("missing operand")
	}
	dst := rest[len(rest)-1]
	for _, src := range rest[:len(rest)-1] {
		if err := c.copyTree(c.path(src), c.into(dst, src)); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

func (c *call) copyTree(src, dst string) error {
	return c.g.disk.visit(src, func(p string, st info) error {
		to := dst + strings.TrimPrefix(p, src)
		switch {
		case st.IsDir():
			return c.g.disk.mkdirAll(to, st.Mode().Perm(), c.user.uid)
		case st.Mode()&fs.ModeSymlink != 0:
			return c.g.disk.symlink(st.target, to, c.user.uid)
		}
		data, err := c.g.disk.read(p, c.user.uid)
		if err != nil {
			return err
		}
		return c.g.disk.write(to, data, st.Mode().Perm(), c.user.uid)
	})
}

func mktemp(c *call) int {
	set, rest := c.flags()
	name := "/tmp/tmp.XXXXXXXXXX"
	if len(rest) > 0 {
		name = c.path(rest[0])
	}
	id := fmt.Sprintf("%x", c.g.random(5))
	name = strings.TrimRight(name, "X") + id
	var err error
	if set['d'] {
		err = c.g.disk.mkdir(name, 0o700, c.user.uid)
	} else {
		err = c.g.disk.write(name, nil, 0o600, c.user.uid)
	}
	if err != nil {
		return c.fail(err)
	}
	fmt.Fprintln(c.stdout, name)
	return 0
}

func ls(c *call) int {
	set, paths := c.flags()
	if len(paths) == 0 {
		paths = []string{"."}
	}
	for _, p := range paths {
		st, err := c.g.disk.stat(c.path(p), true)
		if err != nil {
			fmt.Fprintf(c.stderr, "ls: cannot access '%s': %v\n", p, plain(err))
			return 2
		}
		list := []info{st}
		if st.IsDir() && !set['d'] {
			if list, err = c.g.disk.list(c.path(p), c.user.uid); err != nil {
				return c.fail(err)
			}
		} else {
			list[0].name = p
		}
		for _, e := range list {
			if strings.HasPrefix(e.name, ".") && !set['a'] && !set['A'] && !set['d'] {
				continue
			}
			if set['l'] {
				fmt.Fprintf(c.stdout, "%s 1 %s %s %8d %s ", e.mode, c.g.login(e.uid), c.g.login(e.gid), e.size, e.mtime.UTC().Format("Jan _2 15:04"))
			}
			fmt.Fprintln(c.stdout, e.name)
		}
	}
	return 0
}

// find lists trees; of find's tests it knows -type and -name. As tree it lists too.
func find(c *call) int {
	roots, kind, glob := []string{}, "", "*"
	args := c.args[1:]
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-type" && i+1 < len(args):
			i++
			kind = args[i]
		case args[i] == "-name" && i+1 < len(args):
			i++
			glob = args[i]
		case !strings.HasPrefix(args[i], "-"):
			roots = append(roots, args[i])
		}
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	for _, root := range roots {
		full := c.path(root)
		err := c.g.disk.visit(full, func(p string, st info) error {
			match, _ := path.Match(glob, path.Base(p))
			is := map[string]bool{"": true, "f": st.Mode().IsRegular(), "d": st.IsDir(), "l": st.Mode()&fs.ModeSymlink != 0}
			if match && is[kind] {
				fmt.Fprintln(c.stdout, root+strings.TrimPrefix(p, full))
			}
			return nil
		})
		if err != nil {
			return c.fail(err)
		}
	}
	return 0
}

func readlink(c *call) int {
	set, rest := c.flags()
	for _, p := range rest {
		target, err := c.g.disk.readlink(c.path(p))
		if err != nil && set['f'] {
			target, err = path.Clean(c.path(p)), nil
		}
		if err != nil {
			return 1
		}
		fmt.Fprintln(c.stdout, target)
	}
	return 0
}

// tee copies its input to files and to its output.
func tee(c *call) int {
	set, paths := c.flags()
	data, err := io.ReadAll(c.stdin)
	if err != nil {
		return 1
	}
	for _, p := range paths {
		n, err := c.g.disk.open(c.path(p), 0o644, !set['a'], c.user.uid)
		if err == nil && p != "/dev/null" {
			err = c.g.disk.append(n, data)
		}
		if err != nil {
			return c.fail(err)
		}
	}
	_, _ = c.stdout.Write(data)
	return 0
}
