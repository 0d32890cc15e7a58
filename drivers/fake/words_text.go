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

// jq reads its input and prints it: a stand-in that proves only that it is installed.
func jq(c *call) int {
	_, rest := c.flags()
	if len(rest) > 0 {
		rest = rest[1:] // the filter
	}
	return c.inputs(rest, func(_ string, r io.Reader) { _, _ = io.Copy(c.stdout, r) })
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

func tail(c *call) int {
	n, _, paths := c.count()
	return c.inputs(paths, func(_ string, r io.Reader) {
		all := lines(r)
		for _, line := range all[max(0, len(all)-int(n)):] {
			fmt.Fprintln(c.stdout, line)
		}
	})
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

func grep(c *call) int {
	set, rest := c.flags()
	if len(rest) == 0 {
		return c.errorf("missing pattern")
	}
	pattern := rest[0]
	if set['F'] {
		pattern = regexp.QuoteMeta(pattern)
	}
	if set['i'] {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		fmt.Fprintf(c.stderr, "grep: %v\n", err)
		return 2
	}
	hits := 0
	code := c.inputs(rest[1:], func(_ string, r io.Reader) {
		for _, line := range lines(r) {
			if re.MatchString(line) == set['v'] {
				continue
			}
			if hits++; !set['q'] && !set['c'] {
				fmt.Fprintln(c.stdout, line)
			}
		}
	})
	if set['c'] {
		fmt.Fprintln(c.stdout, hits)
	}
	if code == 0 && hits == 0 {
		return 1
	}
	return code
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
	set, paths := c.flags()
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
