package guest

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
)

// A System is what an agent acts on: a running Linux (see OS), or a made-up one
// in tests. Its methods are called concurrently. Each ends soon after ctx does.
// A path that does not exist is fs.ErrNotExist. Paths may begin with ~ or ~user.
type System interface {
	// Info describes the system.
	Info(ctx context.Context) (Info, error)
	// Exec runs cmd to its end. When ctx ends, cmd.Timeout passes or s.Expired
	// closes, every process that cmd started is killed first. A non-zero exit is not an error; a
	// program that cannot be started is.
	Exec(ctx context.Context, cmd Command, s Streams) (Exit, error)
	// Receive unpacks a tar stream at path. Every entry's name begins with the same
	// first element, the root. If path ends in "/" or is a folder the root keeps
	// its name and lands in it; else the root is renamed to path. Missing parents
	// are made. Everything made belongs to opt.User.
	Receive(ctx context.Context, path string, opt PushOptions, tar io.Reader) (TransferStats, error)
	// Send packs the file or tree at path as a tar stream whose names all begin with
	// path's last element. It follows no link, and stops with an error at the bounds.
	Send(ctx context.Context, path string, opt PullOptions, tar io.Writer) (TransferStats, error)
	// ReadFile returns a file's content. A file longer than limit is an error.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
	// WriteFile makes or replaces a file that belongs to user (empty: the test
	// user), and its missing parents.
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode, user string) error
	// Wait returns when the condition holds, or with ctx's error.
	Wait(ctx context.Context, c Condition) error
	// Renew gives the system an identity of its own. See Client.Renew.
	Renew(ctx context.Context, id Identity) error
}

// Streams are the open ends of a command.
type Streams struct {
	Stdin   io.Reader       // nil: empty
	Stdout  io.Writer       // never nil
	Stderr  io.Writer       // never nil; unused on a terminal
	Sizes   <-chan Size     // new sizes of the command's terminal; nil without one
	Expired <-chan struct{} // closes when the command's time is up; may be nil
}

// PushOptions are the options of Push.
type PushOptions struct {
	User string `json:"user,omitempty"` // owner of what is made; empty: the guest's test user, else root
}

// PullOptions bound a Pull. Zero means DefaultMaxBytes and DefaultMaxFiles.
type PullOptions struct {
	MaxBytes int64 `json:"max_bytes,omitempty"`
	MaxFiles int64 `json:"max_files,omitempty"` // folders count too
}

// The bounds of a Pull that names none.
const (
	DefaultMaxBytes = 16 << 30
	DefaultMaxFiles = 1 << 20
)

// A Condition is what Wait waits for. Exactly one field is set.
type Condition struct {
	File string `json:"file,omitempty"` // a path that exists
	Port int    `json:"port,omitempty"` // a TCP port that something in the guest listens on
	Unit string `json:"unit,omitempty"` // a systemd unit that is active
}

// A Handler serves one method that another room hangs on the line. It runs in
// the agent. args is the caller's JSON, in ends with io.EOF when the caller's
// input does, out reaches the caller's writer, result is sent as JSON.
// A Handler returns soon after ctx ends.
type Handler func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (result any, err error)
