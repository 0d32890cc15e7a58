//go:build linux

package qemu

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Templates lists the finished templates in dir, most recently used first. A
// folder that is not there holds none.
func Templates(dir string) ([]Template, error) {
	entries, err := listTemplates(dir)
	if err != nil {
		return nil, err
	}
	var list []Template
	for _, e := range entries {
		f, err := readFacts(e.dir)
		if err != nil || strings.HasSuffix(e.dir, draftSuffix) {
			continue // a draft, or what is left of one: Trim's business
		}
		t := Template{
			Image: f.Image, Digest: f.Digest, CPUs: f.CPUs, Memory: f.Memory, Bytes: e.size,
			Version: f.Version, Accel: f.Accel, Made: f.Made, Used: e.used.UTC(),
		}
		if t.Failed, t.Rebuilt, err = readTroubles(e.dir); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	slices.SortStableFunc(list, func(a, b Template) int { return b.Used.Compare(a.Used) })
	return list, nil
}

// troublesSuffix is of the file beside a template that says, a JSON line each,
// what went wrong with it. It survives the template's being made again.
const troublesSuffix = ".troubles"

// A trouble is one clone that did not wake, or the end of a template for that.
type trouble struct {
	Time    time.Time `json:"time"`
	Rebuilt bool      `json:"rebuilt,omitempty"`
	Why     string    `json:"why,omitempty"`
}

// maxTroubles bounds what is read and kept of one template's troubles, in bytes.
const maxTroubles = 1 << 20

// note adds a trouble to those of the template of dir.
func (t trouble) note(dir string) error {
	f, err := os.OpenFile(dir+troublesSuffix, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	t.Why = t.Why[:min(len(t.Why), 1<<10)]
	line, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || info.Size() > maxTroubles-int64(len(line))-1 {
		return err
	}
	_, err = f.Write(append(line, '\n')) // in one piece: others append too
	return err
}

// readTroubles counts the troubles of the template of dir.
func readTroubles(dir string) (failed, rebuilt int, err error) {
	data, err := readTail(dir+troublesSuffix, maxTroubles)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var t trouble
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return failed, rebuilt, fmt.Errorf("%s: %w", dir+troublesSuffix, err)
		}
		if t.Rebuilt {
			rebuilt++
		} else {
			failed++
		}
	}
	return failed, rebuilt, lines.Err()
}
