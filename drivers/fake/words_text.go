package fake

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxInput is how much of its input a word keeps in memory.
const maxInput = 256 << 20

// inputs calls fn with each operand's content, or with standard input if there
// is none. It returns the exit code.
func (c *call) inputs(paths []string, fn func(name string, r io.Reader)) int {
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	code := 0
	for _, p := range paths {
		if p == "-" {
			fn(p, io.LimitReader(c.stdin, maxInput))
			continue
		}
		r, err := c.g.open(c.path(p), c.user.uid)
		if err != nil {
			code = c.errorf("%s: %v", p, plain(err))
			continue
		}
		fn(p, r)
	}
	return code
}

func cat(c *call) int {
	_, paths := c.flags()
	return c.inputs(paths, func(_ string, r io.Reader) { _, _ = io.Copy(c.stdout, r) })
}

// standIn is a program with a language of its own, such as awk, sed and jq: it
// only prints its input. A guest that lacked them would run no real script at
// all; one that interpreted them would be a second assay.
func standIn(c *call) int {
	rest, hasProgram := c.args[1:], false
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		hasProgram = hasProgram || rest[0] == "-f" || rest[0] == "-e"
		takes := len(rest[0]) == 2 && strings.Contains("vFef", rest[0][1:]) && path.Base(c.args[0]) != "jq"
		rest = rest[1:]
		if takes && len(rest) > 0 {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 && !hasProgram {
		if m := selection.FindStringSubmatch(rest[0]); m != nil && path.Base(c.args[0]) == "awk" {
			return c.selectField(rest[1:], m)
		}
		rest = rest[1:]
	}
	return c.inputs(rest, func(_ string, r io.Reader) { _, _ = io.Copy(c.stdout, r) })
}

// selection is the one program of awk's that a fake guest knows: the field of
// the lines whose other field is a word.
var selection = regexp.MustCompile(`^\$(\d+) == "([^"]*)" *\{ *print \$(\d+) *\}$`)

// selectField prints a field, as a selection says; -F names what parts fields.
func (c *call) selectField(paths, program []string) int {
	part := " "
	for _, arg := range c.args {
		if v, ok := strings.CutPrefix(arg, "-F"); ok && v != "" {
			part = v
		}
	}
	key, _ := strconv.Atoi(program[1])
	value, _ := strconv.Atoi(program[3])
	return c.inputs(paths, func(_ string, r io.Reader) {
		for _, line := range lines(r) {
			fields := append([]string{line}, strings.Split(line, part)...)
			if max(key, value) < len(fields) && fields[key] == program[2] {
				fmt.Fprintln(c.stdout, fields[value])
			}
		}
	})
}

// tr replaces, or with -d deletes, the characters of two plain sets.
func tr(c *call) int {
	set, rest := c.flags()
	if len(rest) == 0 {
		return c.errorf("missing operand")
	}
	from := []rune(unescape(rest[0]))
	to := from
	if len(rest) > 1 {
		to = []rune(unescape(rest[1]))
	}
	return c.inputs(nil, func(_ string, r io.Reader) {
		data, _ := io.ReadAll(r)
		fmt.Fprint(c.stdout, strings.Map(func(r rune) rune {
			i := slices.Index(from, r)
			switch {
			case i < 0:
				return r
			case set['d']:
				return -1
			}
			return to[min(i, len(to)-1)]
		}, string(data)))
	})
}

// unescape reads \n and \t, and a-z as the letters between.
func unescape(s string) string {
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(s)
	r := []rune(s)
	if len(r) != 3 || r[1] != '-' || r[2] < r[0] {
		return s
	}
	s = ""
	for c := r[0]; c <= r[2]; c++ {
		s += string(c)
	}
	return s
}

// cut prints the field -f N of each line, parted by -d or tabs.
func cut(c *call) int {
	part, field, paths := "\t", 0, []string{}
	args := c.args[1:]
	for i := 0; i < len(args); i++ {
		option := args[i][:min(len(args[i]), 2)]
		value := args[i][len(option):]
		if (option == "-d" || option == "-f") && value == "" && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch option {
		case "-d":
			part = value
		case "-f":
			field, _ = strconv.Atoi(value) // 0 prints whole lines
		default:
			paths = append(paths, args[i])
		}
	}
	return c.inputs(paths, func(_ string, r io.Reader) {
		for _, line := range lines(r) {
			if parts := strings.Split(line, part); field >= 1 && field <= len(parts) {
				line = parts[field-1]
			}
			fmt.Fprintln(c.stdout, line)
		}
	})
}

// count reads the number of "-n 5", "-5" or "-c 5", and the operands after it.
func (c *call) count() (n int64, unit byte, paths []string) {
	n, unit = 10, 'n'
	rest := c.args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		arg := strings.TrimPrefix(rest[0], "-")
		rest = rest[1:]
		if arg[0] == 'n' || arg[0] == 'c' {
			unit = arg[0]
			if arg = arg[1:]; arg == "" && len(rest) > 0 {
				arg, rest = rest[0], rest[1:]
			}
		}
		if v, err := strconv.ParseInt(arg, 10, 64); err == nil {
			n = v
		}
	}
	return n, unit, rest
}

func head(c *call) int {
	n, unit, paths := c.count()
	return c.inputs(paths, func(_ string, r io.Reader) {
		if unit == 'c' {
			_, _ = io.CopyN(c.stdout, r, n)
			return
		}
		for i, line := range lines(r) {
			if int64(i) < n {
				fmt.Fprintln(c.stdout, line)
			}
		}
	})
}

// tail prints the last lines. With -f or -F it stays until it is killed.
func tail(c *call) int {
	n, _, paths := c.count()
	code := c.inputs(paths, func(_ string, r io.Reader) {
		all := lines(r)
		for _, line := range all[max(0, len(all)-int(n)):] {
			fmt.Fprintln(c.stdout, line)
		}
	})
	if slices.Contains(c.args, "-f") || slices.Contains(c.args, "-F") {
		<-c.ctx.Done()
		return 143
	}
	return code
}

// lines reads everything and splits it.
func lines(r io.Reader) []string {
	data, _ := io.ReadAll(io.LimitReader(r, maxInput))
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// A search is one call of grep.
type search struct {
	*call
	set  map[rune]bool
	re   *regexp.Regexp
	skip []string // folders that a recursive search leaves out
	hits int
}

// grep knows the usual options, before or after the pattern.
func grep(c *call) int {
	s := &search{call: c, set: map[rune]bool{}}
	var rest []string
	for _, arg := range c.args[1:] {
		long, isLong := strings.CutPrefix(arg, "--exclude-dir=")
		switch {
		case isLong:
			s.skip = append(s.skip, long)
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			for _, r := range strings.TrimLeft(arg, "-") {
				s.set[r] = true
			}
		default:
			rest = append(rest, arg)
		}
	}
	if len(rest) == 0 {
		return c.errorf("missing pattern")
	}
	var err error
	if s.re, err = s.compile(rest[0]); err != nil {
		fmt.Fprintf(c.stderr, "grep: %v\n", err)
		return 2
	}
	code := s.run(rest[1:])
	if s.set['c'] {
		fmt.Fprintln(c.stdout, s.hits)
	}
	if code == 0 && s.hits == 0 {
		return 1
	}
	return code
}

func (s *search) compile(pattern string) (*regexp.Regexp, error) {
	if s.set['F'] {
		pattern = regexp.QuoteMeta(pattern)
	}
	if s.set['i'] {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile(pattern)
}

// run searches the operands, with -r the trees below them.
func (s *search) run(paths []string) int {
	if !s.set['r'] && !s.set['R'] {
		return s.inputs(paths, func(_ string, r io.Reader) { s.look("", r) })
	}
	code := 0
	for _, root := range paths {
		err := s.g.disk.visit(s.path(root), func(p string, st info) error {
			if st.IsDir() && slices.Contains(s.skip, st.name) {
				return errSkip
			}
			if st.Mode().IsRegular() {
				if data, err := s.g.disk.read(p, s.user.uid); err == nil {
					s.look(root+strings.TrimPrefix(p, s.path(root))+":", bytes.NewReader(data))
				}
			}
			return nil
		})
		if err != nil {
			code = s.fail(err)
		}
	}
	return code
}

// look prints the lines of one input that match, each after the file's name.
func (s *search) look(prefix string, r io.Reader) {
	for i, line := range lines(r) {
		if s.re.MatchString(line) == s.set['v'] {
			continue
		}
		s.hits++
		if s.set['q'] || s.set['c'] {
			continue
		}
		if s.set['n'] {
			line = strconv.Itoa(i+1) + ":" + line
		}
		fmt.Fprintln(s.stdout, prefix+line)
	}
}

func wc(c *call) int {
	set, paths := c.flags()
	return c.inputs(paths, func(name string, r io.Reader) {
		data, _ := io.ReadAll(r)
		counts := []string{strconv.Itoa(bytes.Count(data, []byte("\n"))), strconv.Itoa(len(bytes.Fields(data))), strconv.Itoa(len(data))}
		switch {
		case set['l']:
			counts = counts[:1]
		case set['w']:
			counts = counts[1:2]
		case set['c']:
			counts = counts[2:]
		}
		if name != "-" {
			counts = append(counts, name)
		}
		fmt.Fprintln(c.stdout, strings.Join(counts, " "))
	})
}

func sortWord(c *call) int {
	set, rest := c.flags()
	paths := slices.DeleteFunc(rest, func(a string) bool { // the values of -t and -k
		return len(strings.TrimSpace(a)) <= 1 || strings.ContainsAny(a[:1], "0123456789-")
	})
	var all []string
	code := c.inputs(paths, func(_ string, r io.Reader) { all = append(all, lines(r)...) })
	slices.Sort(all)
	if set['u'] {
		all = slices.Compact(all)
	}
	if set['r'] {
		slices.Reverse(all)
	}
	for _, line := range all {
		fmt.Fprintln(c.stdout, line)
	}
	return code
}

func sha256sum(c *call) int {
	_, paths := c.flags()
	return c.inputs(paths, func(name string, r io.Reader) {
		h := sha256.New()
		_, _ = io.Copy(h, r)
		fmt.Fprintf(c.stdout, "%x  %s\n", h.Sum(nil), name)
	})
}

func base64Word(c *call) int {
	_, paths := c.flags()
	return c.inputs(paths, func(_ string, r io.Reader) {
		data, _ := io.ReadAll(r)
		fmt.Fprintln(c.stdout, base64.StdEncoding.EncodeToString(data))
	})
}

func basename(c *call) int {
	_, rest := c.flags()
	if len(rest) == 0 {
		return c.errorf("missing operand")
	}
	name := path.Base(rest[0])
	if len(rest) > 1 {
		name = strings.TrimSuffix(name, rest[1])
	}
	fmt.Fprintln(c.stdout, name)
	return 0
}

func dirname(c *call) int {
	_, rest := c.flags()
	for _, p := range rest {
		fmt.Fprintln(c.stdout, path.Dir(p))
	}
	return 0
}

func seq(c *call) int {
	first, last := 1, 0
	_, _ = fmt.Sscan(c.args[len(c.args)-1], &last)
	if len(c.args) > 2 {
		_, _ = fmt.Sscan(c.args[1], &first)
	}
	for i := first; i <= last; i++ {
		if _, err := fmt.Fprintln(c.stdout, i); err != nil || c.ctx.Err() != nil {
			return 1
		}
	}
	return 0
}
