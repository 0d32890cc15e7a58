package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"assay/near"
)

// configName is the file in the state folder in which a user settles what would
// else be typed again and again.
const configName = "config.toml"

// configKeys are what may stand in it: flags of "assay run".
var configKeys = []string{"driver", "fail-on", "fit", "jobs", "keep", "no-build", "placebo", "timeout"}

// A config is what the file says: the values of flags, and where they stand.
type config struct {
	path   string
	values map[string]setting
}

type setting struct {
	text string
	line int
}

// config reads the file; there may be none.
func (a *app) config() (config, error) {
	c := config{path: filepath.Join(a.home, configName), values: map[string]setting{}}
	f, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, usagef("", "config: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if err := c.line(n, strings.TrimSpace(lines.Text())); err != nil {
			return c, usagef("", "config: %s:%d: %w", c.path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return c, usagef("", "config: %s: %w", c.path, err)
	}
	return c, nil
}

// assignment is the part of TOML that the file needs: a key and a string, a
// number or a truth, and a comment.
var assignment = regexp.MustCompile(`^([A-Za-z0-9_-]+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|[0-9]+|true|false)\s*(?:#.*)?$`)

func (c config) line(n int, text string) error {
	if text == "" || text[0] == '#' {
		return nil
	}
	m := assignment.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("got %.60q, want KEY = VALUE, such as driver = \"lima\"", text)
	}
	key, value := m[1], m[2]
	if !oneWord(configKeys, key) {
		if word := near.Name(key, configKeys); word != "" {
			return fmt.Errorf("got %q, want a setting; did you mean %q?", key, word)
		}
		return fmt.Errorf("got %q, want one of %s", key, strings.Join(configKeys, ", "))
	}
	if _, twice := c.values[key]; twice {
		return fmt.Errorf("got %q twice, want it once", key)
	}
	if key == "driver" && !strings.ContainsAny(value[:1], `"'`) {
		return fmt.Errorf("for %s: got %s, want a string such as \"lima\"", key, value)
	}
	text, err := plainValue(value)
	c.values[key] = setting{text, n}
	return err
}

func oneWord(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

// plainValue takes the quotes off a value.
func plainValue(value string) (string, error) {
	switch value[0] {
	case '"':
		text, err := strconv.Unquote(value)
		if err != nil {
			return "", fmt.Errorf("got %s, want a string such as \"lima\"", value)
		}
		return text, nil
	case '\'':
		return strings.Trim(value, "'"), nil
	}
	return value, nil
}

// settle gives a command's flags that were not typed the values of the file. The
// driver is not among them: what a script says goes before the file.
func (a *app) settle(c *cobra.Command) error {
	conf, err := a.config()
	if err != nil {
		return err
	}
	for key, v := range conf.values {
		f := c.Flags().Lookup(key)
		if key == "driver" || f == nil || f.Changed {
			continue
		}
		if err := c.Flags().Set(key, v.text); err != nil {
			return usagef("", "config: %s:%d: %w", conf.path, v.line, badValue(err))
		}
	}
	return nil
}
