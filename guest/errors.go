package guest

import "fmt"

// A LineError says that the line to the agent is dead: everything that was
// under way on it has failed, and a new one must be dialled.
type LineError struct {
	Err error
}

func (e *LineError) Error() string { return fmt.Sprintf("line: %v", e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// An Error is the agent's answer that a call failed in the guest. It matches
// fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, errors.ErrUnsupported,
// context.Canceled or context.DeadlineExceeded when its kind says so.
type Error struct {
	Method  string // exec, push, …
	Kind    string // not_exist, permission, exist, unsupported, canceled, deadline, or empty
	Message string // the guest's words, bounded, control characters escaped
}

func (e *Error) Error() string { return e.Message }
