package vmware

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxConfig bounds a file that describes a machine, in bytes.
const maxConfig = 4 << 20

// A config is a file of lines key = "value": what a machine is (.vmx), or its
// snapshots (.vmsd). Keys come in any capitals. What is unknown stays.
type config []string

// readConfig reads such a file.
func readConfig(path string) (config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: got %d bytes, want at most %d", path, info.Size(), maxConfig)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	return strings.Split(text, "\n"), nil
}

// write writes the file anew.
func (c config) write(path string) error {
	if err := os.WriteFile(path+".new", []byte(strings.Join(c, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// key is the part of a line that names what it is about.
func key(line string) string {
	k, _, _ := strings.Cut(line, "=")
	return strings.TrimSpace(k)
}

// get returns a value, "" if there is none.
func (c config) get(k string) string {
	for _, line := range c {
		if strings.EqualFold(key(line), k) {
			_, value, _ := strings.Cut(line, "=")
			return unescape(strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	return ""
}

// set replaces a value, or adds it.
func (c config) set(k, value string) config {
	line := fmt.Sprintf(`%s = "%s"`, k, escape(value))
	for i := range c {
		if strings.EqualFold(key(c[i]), k) {
			c[i] = line
			return c
		}
	}
	return append(c, line)
}

// with sets pairs of key and value.
func (c config) with(pairs ...string) config {
	for i := 0; i+1 < len(pairs); i += 2 {
		c = c.set(pairs[i], pairs[i+1])
	}
	return c
}

// escape writes what may not stand between quotes as |XX.
func escape(value string) string {
	var b strings.Builder
	for _, r := range value {
		if r < ' ' || r == '"' || r == '|' || r == 0x7f {
			fmt.Fprintf(&b, "|%02X", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unescape(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '|' && i+2 < len(value) {
			if n, err := strconv.ParseUint(value[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// edit changes a file.
func edit(path string, pairs ...string) error {
	c, err := readConfig(path)
	if err != nil {
		return err
	}
	return c.with(pairs...).write(path)
}

// drop removes the keys of a file that begin with prefix.
func drop(path, prefix string) error {
	c, err := readConfig(path)
	if err != nil {
		return err
	}
	return slices.DeleteFunc(c, func(line string) bool {
		return strings.HasPrefix(strings.ToLower(key(line)), strings.ToLower(prefix))
	}).write(path)
}
