// Package assay holds the words that every room shares: what a run is, what
// happened in it, what was found, and how it was judged.
//
// The engine fills these values, results stores them, report renders them and
// grade judges them; none of those rooms knows another. The package holds data
// and no behaviour beyond ordering its own words. It knows no hypervisor, no
// Starlark and no SQL.
package assay

import (
	_ "embed"
	"time"
)

// Version is the version of assay. The build sets it with -ldflags -X.
var Version = "0.1.0-dev"

// Schema is the DDL of a fresh results database.
//
//go:embed results.db.schema
var Schema string

// A Run is one call of "assay run": a plan of cells and what became of them.
type Run struct {
	ID      string    `json:"id"` // sorts by time: 20261123T130009-7f3a
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Verdict Verdict   `json:"verdict"` // the worst of the cells; empty while the run goes on
	Command []string  `json:"command"` // argv as the user typed it
	Version string    `json:"version"` // of assay
	Host    Host      `json:"host"`
	Cells   []*Cell   `json:"cells"`
}

// A Host is the machine that assay itself ran on.
type Host struct {
	Name   string `json:"name"`
	OS     string `json:"os"` // PRETTY_NAME of os-release, or runtime.GOOS
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory"` // bytes
}

// A Cell is one test in one place: script × test × image × driver × variant.
type Cell struct {
	ID      string `json:"id"` // unique within the run: skill.star:test_skill@debian-12/qemu[variant]
	Script  string `json:"script"`
	Digest  string `json:"script_digest"` // sha256 of the script and of all it loaded
	Test    string `json:"test"`          // function name; empty when the script is itself the test
	Image   string `json:"image"`
	Driver  string `json:"driver"`
	Variant string `json:"variant,omitempty"`

	Params  map[string]string `json:"params,omitempty"`
	Started time.Time         `json:"started"`
	Seconds float64           `json:"seconds"`
	Verdict Verdict           `json:"verdict"` // empty while the cell runs
	Failure *Failure          `json:"failure,omitempty"`

	Machines []Machine  `json:"machines,omitempty"`
	Steps    []Step     `json:"steps,omitempty"`
	Captures []Capture  `json:"captures,omitempty"`
	Diffs    []Diff     `json:"diffs,omitempty"`
	Grades   []Grade    `json:"grades,omitempty"`
	Metrics  []Metric   `json:"metrics,omitempty"`
	Files    []Artifact `json:"artifacts,omitempty"`
	Checks   []Check    `json:"checks,omitempty"`
	Placebos []Placebo  `json:"placebos,omitempty"`
}

// A Verdict is how a run, cell or grade ended.
type Verdict string

// Fail is the subject's doing; Error is ours: infrastructure is never the subject.
const (
	Pass  Verdict = "pass"
	Warn  Verdict = "warn"
	Skip  Verdict = "skip"
	Fail  Verdict = "fail"
	Error Verdict = "error"
)

// A FailureKind says whose doing a failure was. It decides verdict and exit code.
type FailureKind string

// The kinds of failure.
const (
	SubjectFailure     FailureKind = "subject"        // a check, an exec or a grade fell short: verdict fail, exit 1
	ScriptFailure      FailureKind = "script"         // the script is wrong: verdict error, exit 2
	InfraFailure       FailureKind = "infrastructure" // boot, driver, line, host: verdict error, exit 3
	InterruptedFailure FailureKind = "interrupted"    // Ctrl-C or a killed run: verdict error, exit 4
	StoppedFailure     FailureKind = "stopped"        // never started, for others failed: verdict skip
)

// A Failure is why a cell did not pass.
type Failure struct {
	Kind      FailureKind `json:"kind"`
	Message   string      `json:"message"`             // one line: what was got, wanted, on what, what to do
	Position  string      `json:"position,omitempty"`  // skill.star:12:5
	Backtrace string      `json:"backtrace,omitempty"` // Starlark's, several lines
	Detail    string      `json:"detail,omitempty"`    // such as the console's tail
}

// A Machine is one virtual machine that a cell used.
type Machine struct {
	ID      string  `json:"id"`
	Image   string  `json:"image"`
	Digest  string  `json:"image_digest"`
	OS      OS      `json:"os"`
	Driver  string  `json:"driver"`
	Accel   string  `json:"accel,omitempty"` // kvm, tcg, hvf
	CPUs    int     `json:"cpus"`
	Memory  int64   `json:"memory"` // bytes
	Disk    int64   `json:"disk"`   // bytes
	Network string  `json:"network"`
	Boot    float64 `json:"boot_seconds"`
	Parent  string  `json:"parent,omitempty"`  // snapshot that it was forked from
	Console string  `json:"console,omitempty"` // digest of the console artifact
}

// An OS names a guest's operating system as the guest itself reports it.
type OS struct {
	ID      string `json:"id"`      // debian
	Version string `json:"version"` // 12
	Key     string `json:"key"`     // sortable: see VersionKey
	Name    string `json:"name"`    // Debian GNU/Linux 12 (bookworm)
	Kernel  string `json:"kernel"`
	Arch    string `json:"arch"` // amd64
}

// A Step is one call of a verb.
type Step struct {
	Seq      int     `json:"seq"` // from 1, in order of start
	Verb     string  `json:"verb"`
	Detail   string  `json:"detail"`   // what a person reads: the command, the path, the image
	Position string  `json:"position"` // skill.star:12
	Machine  string  `json:"machine,omitempty"`
	Start    float64 `json:"start_seconds"` // since the cell's start
	Seconds  float64 `json:"seconds"`
	Error    string  `json:"error,omitempty"`
	Exec     *Exec   `json:"exec,omitempty"`
}

// An Exec is what one command did. Output is cut in the middle past OutputLimit.
type Exec struct {
	Command     []string  `json:"command"`
	User        string    `json:"user"`
	Dir         string    `json:"dir,omitempty"`
	Code        int       `json:"code"`             // -1 when a signal ended it, or when it never ended
	Signal      string    `json:"signal,omitempty"` // SIGKILL
	TimedOut    bool      `json:"timed_out,omitempty"`
	Stdout      string    `json:"stdout"`
	Stderr      string    `json:"stderr"`
	StdoutBytes int64     `json:"stdout_bytes"`
	StderrBytes int64     `json:"stderr_bytes"`
	CPU         float64   `json:"cpu_seconds"`
	PeakMemory  int64     `json:"peak_memory"` // bytes; 0 when the guest's kernel does not tell
	Orphans     []Process `json:"orphans,omitempty"`
}

// OutputLimit is how many bytes of each stream an Exec keeps.
const OutputLimit = 64 << 10

// A Process is a process of a guest.
type Process struct {
	PID     int    `json:"pid"`
	PPID    int    `json:"ppid"`
	User    string `json:"user"`
	Command string `json:"command"` // argv joined by spaces, bounded
}

// A Capture names a stored capture. Its records are an artifact.
type Capture struct {
	ID       int            `json:"id"` // from 1 within the cell
	Machine  string         `json:"machine"`
	Step     int            `json:"step"`
	Digest   string         `json:"digest"`             // sha256 of its canonical form
	Counts   map[string]int `json:"counts"`             // records by kind
	Problems []string       `json:"problems,omitempty"` // what could not be observed
	Witness  string         `json:"witness,omitempty"`  // who told of the files: host or guest
	Seconds  float64        `json:"seconds"`
}

// A Diff is what changed between two captures of a cell.
type Diff struct {
	ID      int      `json:"id"` // from 1 within the cell
	Step    int      `json:"step"`
	Before  int      `json:"before"` // capture ids
	After   int      `json:"after"`
	Changes []Change `json:"changes"`
	Ignored int      `json:"ignored"`         // changes that the script's globs left out
	Noise   []Noise  `json:"noise,omitempty"` // changes that idle twins make too: left out of Changes
}

// A Noise is a change that was left out of a diff because twins that did nothing
// made it as well.
type Noise struct {
	Change
	Seen int `json:"seen"` // in so many placebos …
	Of   int `json:"of"`   // … of so many that lasted as long
}

// A Placebo is what changed in a machine that did nothing: the twin of a machine
// under test, or one made to find out.
type Placebo struct {
	Image   string   `json:"image"`           // digest
	Scope   string   `json:"scope,omitempty"` // empty: the machine was as launched; else what it was made into: it tells nothing of others
	Seconds float64  `json:"seconds"`
	Changes []Change `json:"changes"`
}

// An Op is how a record changed.
type Op string

// The three ways in which a record changes.
const (
	Added    Op = "added"
	Removed  Op = "removed"
	Modified Op = "modified"
)

// A Change is one record that two captures do not share.
type Change struct {
	Kind   string            `json:"kind"` // of the record: file, package, process, unit, ...
	Key    string            `json:"key"`  // path, name, ...
	Op     Op                `json:"op"`
	Before map[string]string `json:"before,omitempty"` // attributes of the record
	After  map[string]string `json:"after,omitempty"`
	Fields []string          `json:"fields,omitempty"` // modified only: the attributes that differ, sorted
	Text   string            `json:"text,omitempty"`   // unified diff of a small text file
	Group  string            `json:"group,omitempty"`  // fold: "package jq" owns this change
}

// A Check is one check() of a script.
type Check struct {
	Step    int    `json:"step"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// A Metric is one number about a cell: boot_seconds, peak_memory, ...
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // seconds, bytes, count
}

// QueueSeconds is the metric that says how long a cell waited until the host had
// room for one of its machines. It is part of the cell's seconds.
const QueueSeconds = "queue_seconds"

// An Artifact is a file kept beside the results, named by its digest.
type Artifact struct {
	Name   string `json:"name"` // console.log, capture-1.json.zst
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Path   string `json:"-"` // where the engine left it; results moves it to its store
}
