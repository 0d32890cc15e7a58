package engine

import (
	"encoding/json"
	"errors"
	"io"
	"sync"

	"assay"
	"assay/vm"
)

// A message is one JSON line between a parent and a child. Exactly one field
// is set.
type message struct {
	// From the parent. The first message is Query or Job; a child serves one.
	Query  *query `json:"query,omitempty"`
	Job    *job   `json:"job,omitempty"`
	Grant  *grant `json:"grant,omitempty"`  // answers Reserve
	Kept   bool   `json:"kept,omitempty"`   // answers Keep
	Cancel bool   `json:"cancel,omitempty"` // the user interrupts
	Revoke int    `json:"revoke,omitempty"` // the id of a Spare that was granted: its room is needed

	// From the child. The last message is Sheet, Done or Failed.
	Event    *Event   `json:"event,omitempty"`
	Reserve  *claim   `json:"reserve,omitempty"`
	Spare    *claim   `json:"spare,omitempty"` // answered by Grant
	Release  *claim   `json:"release,omitempty"`
	Keep     *keeping `json:"keep,omitempty"`
	Launched *launch  `json:"launched,omitempty"`
	Asked    []string `json:"asked,omitempty"` // parameters that the script read
	Sheet    *sheet   `json:"sheet,omitempty"`
	Done     *outcome `json:"done,omitempty"`
	Failed   *failure `json:"failed,omitempty"`
}

// A claim is a machine's share of the host.
type claim struct {
	ID     int   `json:"id"`
	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"`

	// Template is what the machine's driver has yet to make; of claims with the
	// same one, only the first is granted until Launched says that it is there.
	Template string `json:"template,omitempty"`
}

// A launch is over.
type launch struct {
	Template string `json:"template"`
	OK       bool   `json:"ok"` // the template is there
}

// A grant answers the claim with the same id.
type grant struct {
	ID      int      `json:"id"`
	Failure *failure `json:"failure,omitempty"`
}

type keeping struct {
	Cell     assay.Cell `json:"cell"`
	Machines []Live     `json:"machines"`
}

// An outcome is a finished cell. Paths holds the paths of its artifacts, which
// the cell's own JSON leaves out: as bytes, for a guest may name a file in ways
// that a string of JSON cannot hold.
type outcome struct {
	Cell  *assay.Cell `json:"cell"`
	Paths [][]byte    `json:"paths"`
}

func newOutcome(c *assay.Cell) *outcome {
	o := &outcome{Cell: c}
	for _, f := range c.Files {
		o.Paths = append(o.Paths, []byte(f.Path))
	}
	return o
}

func (o *outcome) cell() *assay.Cell {
	for i := range o.Cell.Files {
		if i < len(o.Paths) {
			o.Cell.Files[i].Path = string(o.Paths[i])
		}
	}
	return o.Cell
}

// A failure is an error that keeps its kind on the wire.
type failure struct {
	Script    bool              `json:"script,omitempty"`
	Resource  *vm.ResourceError `json:"resource,omitempty"`
	Message   string            `json:"message"`
	Position  string            `json:"position,omitempty"`
	Backtrace string            `json:"backtrace,omitempty"`
}

func newFailure(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Message: err.Error()}
	errors.As(err, &f.Resource)
	if e := (*ScriptError)(nil); errors.As(err, &e) {
		f.Script, f.Message, f.Position, f.Backtrace = true, e.Err.Error(), e.Position, e.Backtrace
	}
	return f
}

// error is newFailure's inverse.
func (f *failure) error() error {
	switch {
	case f == nil:
		return nil
	case f.Resource != nil:
		return f.Resource
	case f.Script:
		return &ScriptError{Err: errors.New(f.Message), Position: f.Position, Backtrace: f.Backtrace}
	}
	return &InfraError{Err: errors.New(f.Message)}
}

// A pipe carries messages both ways. send may be called by many goroutines.
type pipe struct {
	dec *json.Decoder

	mu  sync.Mutex
	enc *json.Encoder
}

func newPipe(in io.Reader, out io.Writer) *pipe {
	return &pipe{dec: json.NewDecoder(in), enc: json.NewEncoder(out)}
}

func (p *pipe) send(m message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enc.Encode(m)
}

func (p *pipe) receive() (m message, err error) {
	err = p.dec.Decode(&m)
	return m, err
}
