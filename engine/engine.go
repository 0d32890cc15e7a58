// Package engine runs assay scripts: it plans the matrix, evaluates each cell
// in a child process of its own, gives out the host's processors and memory,
// owns every machine, and decides whose doing a failure was.
//
// It knows Starlark, machines and time. It knows no verb: verbs are Builtins,
// made with Func and handed over in an Env. It knows no hypervisor, not what
// the bytes on a line mean, and no SQL.
package engine

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/vm"
)

// Env is what the engine is given by whoever wires the program together. The
// parent and its children are given equal ones.
type Env struct {
	Drivers  []vm.Driver         // the first is the default, unless Choose says otherwise
	Images   Images              // where images come from
	Builtins []Builtin           // the verbs
	Values   starlark.StringDict // predeclared values beside the verbs
	Stdlib   fs.FS               // what load("@stdlib//…") reads
	StateDir string              // run/ in it holds the folders of live machines

	// Choose, if set, names the driver for scripts that name none, where the user
	// named none either. It is asked at most once for a plan.
	Choose func(ctx context.Context) (driver string, err error)

	// Host bounds what the machines of a run may use together; zero fields are
	// measured.
	Host Capacity

	// History, if set, tells what earlier runs showed of cells, by their ids. A
	// cell that it leaves out is new. It is asked once for a plan.
	History func(ctx context.Context, cells []assay.Cell) (map[string]assay.Past, error)

	// Placebos, if set, returns what earlier runs saw of machines that did nothing,
	// newest first. It is asked at most once for each image and scope of a cell.
	Placebos func(ctx context.Context, q PlaceboQuery) (PlaceboHistory, error)

	// OnKeep, if set, is called in the parent when a cell has ended and its
	// machines are to be kept (see Options.Keep). The machines live until it
	// returns. ctx ends when the user interrupts the run.
	OnKeep func(ctx context.Context, cell assay.Cell, machines []Live)
}

// Images is where the engine's images come from. *images.Store is one.
type Images interface {
	// Resolve returns a built image by its name.
	Resolve(name string) (vm.Image, error)
	// Match expands names and globs, in version order. A glob that matches
	// nothing, or an unknown name, is an error.
	Match(globs []string) ([]string, error)
}

// DriverImages are Images that have more for some drivers than for others.
type DriverImages interface {
	Images
	// For returns the images that a driver can boot; ctx is theirs, too.
	For(ctx context.Context, d vm.Driver) Images
}

// Keep says which cells keep their machines until the user lets go of them.
type Keep string

// The values of Keep.
const (
	KeepNever  Keep = "never"
	KeepFailed Keep = "failed"
	KeepAlways Keep = "always"
)

// Options say what to run. The zero value of each field is its default.
type Options struct {
	RunID    string            // default: NewRunID()
	Scripts  []string          // files and folders
	Images   []string          // names and globs, instead of the script's
	Variants []string          // names and globs: run only these variants
	Driver   string            // instead of the script's
	Params   map[string]string // -p key=value
	Dir      string            // relative paths in Params count from here; default: the working folder
	Filter   string            // run only cells whose id contains it
	Shard    Shard             // run only this part of the plan
	Last     Last              // what to do with the cells that failed last time
	MaxFail  int               // start no more cells after so many fell short or broke; 0: start all
	Jobs     int               // cells at a time; default: as many as the host has processors
	Keep     Keep              // default: KeepNever
	Timeout  time.Duration     // of each cell; default: DefaultTimeout
	Placebo  PlaceboPolicy     // default: PlaceboAuto
	Fit      bool              // machines that are larger than the host shrink until they fit
	Command  []string          // argv as the user typed it, for the record
	Child    []string          // argv that starts ServeChild; empty: scripts are evaluated in this process
}

// DefaultTimeout is how long a cell may take.
const DefaultTimeout = 30 * time.Minute

// A Recorder keeps what a run brings forth. The engine calls it from one
// goroutine at a time. Artifacts of a finished cell are moved away by
// FinishCell: afterwards their paths are gone.
type Recorder interface {
	StartRun(assay.Run) error
	StartCell(runID string, c *assay.Cell) error
	FinishCell(runID string, c *assay.Cell) error
	FinishRun(assay.Run) error
}

// An Event is one thing that happened. As a JSON line it is what --json prints.
type Event struct {
	Time    time.Time     `json:"time"`
	Cell    string        `json:"cell"` // id of the cell
	Kind    string        `json:"kind"`
	Step    *assay.Step   `json:"step,omitempty"`    // of step_start, step_end, phase and output
	Text    string        `json:"text,omitempty"`    // raw; may hold what a guest wrote: escape it before printing
	Verdict assay.Verdict `json:"verdict,omitempty"` // of cell_end
}

// The kinds of Event.
const (
	CellStart = "cell_start" // Text: the image
	StepStart = "step_start"
	Phase     = "phase"  // Text: what a slow step is doing
	Output    = "output" // Text: what a command in the guest just wrote
	Log       = "log"    // Text: print() or log() of the script
	StepEnd   = "step_end"
	CellEnd   = "cell_end" // Text: why it did not pass
)

// ErrNothing says that the plan is empty: exit code 5.
var ErrNothing = errors.New("nothing to run")

// ErrInterrupted is the cause of a context that the user cancelled.
var ErrInterrupted = errors.New("interrupted")
