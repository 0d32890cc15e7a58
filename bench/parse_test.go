//go:build linux

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
)

type ctx = context.Context

func TestBusy(t *testing.T) {
	// user nice system idle iowait irq softirq steal guest guest_nice
	if got := busyOf([]byte("cpu  100 10 20 5000 300 1 2 3 50 4\ncpu0 1 1 1 1\n")); got != 1.36 {
		t.Errorf("got %v, want 1.36: idle and waiting do not count, guests do once", got)
	}
}

func TestProportional(t *testing.T) {
	got, err := proportional([]byte("5581 ffff [rollup]\nRss:  120000 kB\nPss:    61440 kB\nPss_Anon: 10 kB\n"))
	if err != nil || got != 60<<20 {
		t.Errorf("got %d and %v, want 60 MiB", got, err)
	}
	if _, err := proportional([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("got no error without a line Pss")
	}
}

// Answers of QEMU's monitor and guest agent, recorded on QEMU 7.2.
func TestDecode(t *testing.T) {
	for answer, want := range map[string]string{
		`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}`: "no answer",
		"\xff{\"return": "no answer",
		`{"error": {"class": "GenericError", "desc": "Device needed"}}`: "x: Device needed",
		`{"return": {"exitcode": 0, "exited": true}}`:                   "exited",
		`{"return": {}}`: "",
	} {
		var status execStatus
		done, err := decode("x", []byte(answer), &status)
		got := ""
		switch {
		case !done:
			got = "no answer"
		case err != nil:
			got = err.Error()
		case status.Exited:
			got = "exited"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", answer, got, want)
		}
	}
}

// The guest agent has no way to tell that a program ended: it is asked.
func TestRunTrue(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		fails   string
	}{
		"at once":  {[]string{`{"return": {"pid": 7}}`, `{"return": {"exited": true, "exitcode": 0}}`}, ""},
		"later":    {[]string{`{"return": {"pid": 7}}`, `{"return": {"exited": false}}`, `{"return": {"exited": true}}`}, ""},
		"non-zero": {[]string{`{"return": {"pid": 7}}`, `{"return": {"exited": true, "exitcode": 3}}`}, "got exit code 3"},
		"refused":  {[]string{`{"error": {"desc": "disabled"}}`}, "disabled"},
	} {
		err := runTrue(func(name string, _, result any) error {
			answer := c.answers[0]
			c.answers = c.answers[1:]
			_, err := decode(name, []byte(answer), result)
			return err
		})
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) || len(c.answers) > 0 {
			t.Errorf("%s: got %v with %d answers left, want %q", name, err, len(c.answers), c.fails)
		}
	}
}

func TestVersionOf(t *testing.T) {
	for said, want := range map[string]string{"assay 0.1.0-abc (go1.26.8, linux/amd64)\n": "0.1.0-abc", "": ""} {
		if got := versionOf(said); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
}

// What autopkgtest-virt-qemu prints, recorded on autopkgtest 5.28.
func TestUnescape(t *testing.T) {
	got, err := unescape("/tmp/autopkgtest-qemu.x/runcmd,a%20b,c%2Cd")
	if err != nil || !slices.Equal(got, []string{"/tmp/autopkgtest-qemu.x/runcmd", "a b", "c,d"}) {
		t.Errorf("got %q and %v", got, err)
	}
	if _, err := unescape("%zz"); err == nil {
		t.Error("got no error for a broken escape")
	}
}

const recorded = `{"time":"2026-11-23T13:00:00Z","cell":"a","kind":"cell_start","text":"debian-12"}
{"time":"2026-11-23T13:00:01Z","cell":"a","kind":"step_start","step":{"seq":1,"verb":"launch"}}
{"time":"2026-11-23T13:00:02Z","cell":"b","kind":"step_start","step":{"seq":1,"verb":"launch"}}
{"time":"2026-11-23T13:00:03Z","cell":"a","kind":"step_end","step":{"seq":1,"verb":"launch","start_seconds":0.5,"seconds":2}}
{"time":"2026-11-23T13:00:04Z","cell":"a","kind":"step_end","step":{"seq":2,"verb":"exec","start_seconds":2.5,"seconds":0.25}}
{"time":"2026-11-23T13:00:06.5Z","cell":"b","kind":"step_end","step":{"seq":2,"verb":"exec","seconds":0.5}}
{"time":"2026-11-23T13:00:07Z","cell":"b","kind":"cell_end","text":"no answer","verdict":"error"}
`

func TestEvents(t *testing.T) {
	got, err := readEvents(strings.NewReader(recorded))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := got.need("exec", 2)
	if err != nil || steps[0].Start != 2.5 || steps[1].Seconds != 0.5 {
		t.Errorf("got %+v and %v", steps, err)
	}
	if _, err := got.need("capture", 1); err == nil || !strings.Contains(err.Error(), "got 0 calls of capture, want 1") {
		t.Errorf("got %v, want an error about captures", err)
	}
	if took, err := got.span("launch", "exec"); err != nil || took != 5.5 {
		t.Errorf("got %v and %v, want 5.5 s from the first launch to the last exec", took, err)
	}
	if _, err := got.span("launch", "diff"); err == nil {
		t.Error("got a span to a step that is not there")
	}
	if err := explain(got, context.Canceled); !strings.Contains(err.Error(), "b: no answer") {
		t.Errorf("got %v, want why cell b did not pass", err)
	}
	if _, err := readEvents(strings.NewReader("no JSON\n")); err == nil {
		t.Error("got no error for a line that is no event")
	}
}

// A contestant that sees nothing must not win by being fast.
func TestShows(t *testing.T) {
	if err := shows("> ii  jq  1.6", "jq"); err != nil {
		t.Error(err)
	}
	if err := shows("> ii  tree", "jq"); err == nil {
		t.Error("got no error for a diff without the package")
	}
}
