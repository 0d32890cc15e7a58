package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"assay/drivers/all"
	"assay/drivers/drivertest"
)

// said is the output of a made-up go test -json: each line is ACTION PACKAGE TEST,
// and for the action output a text after that.
func said(t *testing.T, lines string) *results {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(lines) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(f) < 3 {
			continue
		}
		fmt.Fprintf(&b, `{"Action":%q,"Package":%q,"Test":%q,"Output":%q}`+"\n", f[0], f[1], f[2], strings.Join(f[3:], " "))
	}
	r, err := read(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCells proves what each kind of end becomes in the table.
func TestCells(t *testing.T) {
	r := said(t, `
		output assay/drivers/a TestReal/real drivertest.go:1: suite real: a on A 1.2
		pass assay/drivers/a TestReal/real/Passes
		skip assay/drivers/a TestReal/real/Lacks
		pass assay/drivers/a TestReal/real/Both
		skip assay/drivers/a TestReal/real/Differs
		output assay/drivers/a TestFake/stand-in drivertest.go:1: suite stand-in: a on A 1.0
		pass assay/drivers/a TestFake/stand-in/Passes
		skip assay/drivers/a TestFake/stand-in/Lacks
		pass assay/drivers/a TestFake/stand-in/Differs
		pass assay/drivers/a TestFake/stand-in/OnlyFake
		fail assay/drivers/a TestFake/stand-in/Both
		output assay/drivers/a TestFake/stand-in/Dies started
		pass assay/drivers/a TestTalk/transcript/Told
		fail assay/drivers/b TestTalk/transcript/Told
	`)
	for row, want := range map[string]string{
		"Passes": "real", "Lacks": cellUnsupported, "Both": cellFailed, "Differs": "stand-in", "OnlyFake": "stand-in",
		"Dies": cellFailed, "Told": "transcript", "Never": cellNotRun,
	} {
		if got := r.cell(r.suites(), "a", row); got != want {
			t.Errorf("%s: got %s, want %s", row, got, want)
		}
	}
	if got := r.cell(r.suites(), "b", "Told"); got != cellNotRun {
		t.Errorf("a transcript that failed: got %s", got)
	}
	if len(r.failed) != 2 || !strings.Contains(r.failed[0], "TestFake/stand-in/Both") {
		t.Errorf("got the failures %q, want two", r.failed)
	}
}

// TestTable proves what the table says of runs and transcripts, and that a
// transcript counts only if its test passed.
func TestTable(t *testing.T) {
	got := said(t, `
		output assay/drivers/a TestReal/real drivertest.go:1: suite real: a on A 1.2
		pass assay/drivers/a TestReal/real/One
		skip assay/drivers/a TestReal/real/Two
		output assay/drivers/b TestS/stand-in drivertest.go:1: suite stand-in: b on B 3
		output assay/drivers/b TestT replay.go:1: transcript testdata/x.jsonl: 7 calls written from a manual, unconfirmed points: 2
		pass assay/drivers/b TestT
		output assay/drivers/b TestU replay.go:1: transcript testdata/y.jsonl: 1 calls recorded on B 3
		fail assay/drivers/b TestU
	`).table([]string{"a", "b"}, []string{"One", "Two"})
	for _, want := range []string{
		"| row | a | b |\n", "| One | real | not run |\n", "| Two | – | not run |\n",
		"| a | TestReal | real | A 1.2 | 1 | 1 |\n", "| b | TestS | stand-in | says it is B 3 | 0 | 0 |\n",
		"| b | written from a manual | x (7, 2 unconfirmed) |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant a line %s", got, want)
		}
	}
	if strings.Contains(got, "y (1)") {
		t.Errorf("a transcript whose test failed is in the table")
	}
}

// TestNothingRan proves that no output is no empty table.
func TestNothingRan(t *testing.T) {
	for _, text := range []string{"", "FAIL\tassay/drivers/a [build failed]\n"} {
		if _, err := read(strings.NewReader(text)); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

// TestDocumentIsComplete proves that docs/suite.md knows every driver and every
// row, and that nothing had failed when it was written.
func TestDocumentIsComplete(t *testing.T) {
	data, err := os.ReadFile("../../../docs/suite.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"row"}
	for _, d := range all.Drivers(t.TempDir(), nil) {
		want = append(want, d.Name())
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if _, known := rows[cells[0]]; !known {
			rows[cells[0]] = cells
		}
	}
	if got := rows["row"]; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf(`got the drivers %q, want %q; type "make suite"`, got, want)
	}
	for _, row := range drivertest.Rows() {
		if got := rows[row]; len(got) != len(want) {
			t.Errorf(`row %s: got %q, want a cell for each of %d drivers; type "make suite"`, row, got, len(want)-1)
		}
	}
	if strings.Contains(string(data), cellFailed) {
		t.Errorf("docs/suite.md has a row that failed")
	}
}
