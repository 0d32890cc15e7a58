package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// exitUnknown is how a stand-in exits when a transcript does not know the call.
const exitUnknown = 249

// A transcriptHeader is the first line of a transcript: where it comes from.
type transcriptHeader struct {
	Tool        string   `json:"tool"`
	Ring        string   `json:"ring"`    // recorded from the real one, or written from its manual or source
	Version     string   `json:"version"` // recorded: of what answered
	From        string   `json:"from"`    // written: from which manual or source
	Unconfirmed []string `json:"unconfirmed"`
	Any         bool     `json:"any"` // the calls may come in any order
}

// origin says in one line how much a transcript can be trusted.
func (h transcriptHeader) origin() string {
	if h.Ring == "recorded" {
		return "recorded on " + h.Version
	}
	return fmt.Sprintf("written from %s, unconfirmed points: %d", h.From, len(h.Unconfirmed))
}

// A recordedCall is one further line of a transcript.
type recordedCall struct {
	Argv   []string `json:"argv"`  // the tool and its arguments
	Stdin  string   `json:"stdin"` // empty: it is not looked at
	Stdout string   `json:"stdout"`
	Stderr string   `json:"stderr"`
	Exit   int      `json:"exit"`
	Many   bool     `json:"many"`   // it may come again, from here on: a poll
	Chance bool     `json:"chance"` // it comes from here on as often as it likes, or never: a watch
	Note   string   `json:"note"`
	Millis int      `json:"ms"`

	times int // it came
}

// A replay plays a transcript.
type replay struct {
	t    testing.TB
	file string
	head transcriptHeader

	mu    sync.Mutex
	calls []*recordedCall
	next  int               // the first that must still come, if the order counts
	bound map[string]string // what the placeholders stand for
}

// Replay returns a player of the transcript in a file of JSON lines: a header,
//
//	{"tool":"virsh","ring":"recorded","version":"virsh 9.0.0, QEMU 7.2.22"}
//	{"tool":"prlctl","ring":"written","from":"manual 26.0","unconfirmed":["…"]}
//
// and the calls, {"argv":[…],"stdin":"","stdout":"","stderr":"","exit":0}. It is
// strict: the calls come in the transcript's order, unless the header says "any";
// one that it does not know fails the test by name, and so does one that never
// came. "many":true is a call that may come again, later too; "chance":true one
// that may come or not, from there on. ${name} in argv and stdin stands for any
// text, the same wherever it is used, in stdout too.
func Replay(t testing.TB, file string) func(*Call) int {
	t.Helper()
	r := &replay{t: t, file: file, bound: map[string]string{}}
	if err := r.read(); err != nil {
		t.Fatalf("transcript %s: %v", file, err)
	}
	t.Cleanup(r.finish)
	return r.play
}

func (r *replay) read() error {
	f, err := os.Open(r.file)
	if err != nil {
		return err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(&r.head); err != nil {
		return err
	}
	if h := r.head; h.Ring != "recorded" && h.Ring != "written" || h.Ring == "recorded" && h.Version == "" || h.Ring == "written" && h.From == "" {
		return fmt.Errorf("got the header %+v, want ring recorded with a version, or written with a from", h)
	}
	for {
		c := &recordedCall{}
		switch err := d.Decode(c); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("call %d: %w", len(r.calls)+1, err)
		case len(c.Argv) == 0:
			return fmt.Errorf("call %d: got no argv", len(r.calls)+1)
		}
		r.calls = append(r.calls, c)
	}
}

// play answers one call.
func (r *replay) play(c *Call) int {
	argv := append([]string{c.Tool}, c.Args...)
	found, err := r.find(argv, c.Stdin)
	if err != nil {
		r.t.Errorf("transcript %s: %v", r.file, err)
		return c.Fail(exitUnknown, "transcript %s: %v", r.file, err)
	}
	_, _ = io.WriteString(c.Stdout, r.fill(found.Stdout))
	_, _ = io.WriteString(c.Stderr, r.fill(found.Stderr))
	return found.Exit
}

// find returns the recorded call that argv is, and counts it.
func (r *replay) find(argv []string, stdin io.Reader) (*recordedCall, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.order() {
		c := r.calls[i]
		if !r.mayCome(i) {
			continue
		}
		bound := maps.Clone(r.bound)
		if !matchAll(c.Argv, argv, bound) {
			continue
		}
		if c.Stdin != "" {
			data, err := io.ReadAll(stdin)
			if err != nil || !match(c.Stdin, string(data), bound) {
				return nil, fmt.Errorf("%q: got the input %q, %v; want %q", argv, data, err, c.Stdin)
			}
		}
		r.bound = bound
		c.times++
		if !r.head.Any {
			r.next = r.skip(max(r.next, i+1))
		}
		return c, nil
	}
	return nil, fmt.Errorf("got the call %q, want %s", argv, r.expected())
}

// order lists the calls as they are looked at: the one that is next comes before
// those that may come again, so that a poll hears what is new.
func (r *replay) order() []int {
	var all []int
	if !r.head.Any && r.next < len(r.calls) {
		all = append(all, r.next)
	}
	for i := range r.calls {
		all = append(all, i)
	}
	return all
}

// mayCome reports whether the i-th call may come now: it is the next one, or one
// that came before and may come again. What is between those two must not be
// left out.
func (r *replay) mayCome(i int) bool {
	c := r.calls[i]
	switch {
	case c.Chance:
		return i < r.next
	case c.times > 0:
		return c.Many
	case r.head.Any:
		return true
	}
	return i == r.next
}

// skip returns the next call, from the i-th on, that must come.
func (r *replay) skip(i int) int {
	for i < len(r.calls) && r.calls[i].Chance {
		i++
	}
	return i
}

// expected says which call would have been right.
func (r *replay) expected() string {
	switch {
	case r.head.Any:
		return "one that the transcript has and that did not come yet"
	case r.next >= len(r.calls):
		return "none: the transcript is over"
	}
	return fmt.Sprintf("call %d, %q", r.next+1, r.calls[r.next].Argv)
}

// finish fails the test for what did not come, and says what the proof is worth.
func (r *replay) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.calls {
		if c.times == 0 && !c.Chance {
			r.t.Errorf("transcript %s: call %d never came: %q", r.file, i+1, c.Argv)
		}
	}
	r.t.Logf("transcript %s: %d calls %s", r.file, len(r.calls), r.head.origin())
}

// placeholder is a ${name}.
var placeholder = regexp.MustCompile(`\$\{(\w+)\}`)

// fill puts in what the placeholders stand for.
func (r *replay) fill(text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if value, ok := r.bound[p[2:len(p)-1]]; ok {
			return value
		}
		return p
	})
}

func matchAll(templates, texts []string, bound map[string]string) bool {
	return len(templates) == len(texts) && !slices.ContainsFunc(templates, func(tmpl string) bool {
		text := texts[0]
		texts = texts[1:]
		return !match(tmpl, text, bound)
	})
}

// match reports whether a text is what a template says, and binds the
// placeholders that stood for nothing yet.
func match(template, text string, bound map[string]string) bool {
	var pattern strings.Builder
	var names []string
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(template, -1) {
		pattern.WriteString(regexp.QuoteMeta(template[at:m[0]]))
		name := template[m[2]:m[3]]
		if value, ok := bound[name]; ok {
			pattern.WriteString(regexp.QuoteMeta(value))
		} else {
			pattern.WriteString("(.+?)")
			names = append(names, name)
		}
		at = m[1]
	}
	pattern.WriteString(regexp.QuoteMeta(template[at:]))
	found := regexp.MustCompile(`(?s)\A` + pattern.String() + `\z`).FindStringSubmatch(text)
	if found == nil {
		return false
	}
	for i, name := range names {
		if value, ok := bound[name]; ok && value != found[i+1] {
			return false
		}
		bound[name] = found[i+1]
	}
	return true
}
