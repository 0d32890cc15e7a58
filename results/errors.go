package results

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// An Error says in words why a database cannot be used, and what to do.
type Error struct {
	Path   string
	Reason string // what is wrong with the file
	Remedy string // what the user can do
	Err    error  // the cause, when there is one

	missing bool // what was asked for is not there
}

// Error returns the path, the reason, the cause and the remedy.
func (e *Error) Error() string {
	text := "results: " + e.Path + ": " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes a file or run that is not there an fs.ErrNotExist.
func (e *Error) Is(target error) bool { return e.missing && target == fs.ErrNotExist }

// A code is one of SQLite's own for an error.
type code int

// The codes that have words of ours.
const (
	codeError    code = 1
	codePerm     code = 3
	codeBusy     code = 5
	codeLocked   code = 6
	codeReadonly code = 8
	codeIoErr    code = 10
	codeCorrupt  code = 11
	codeFull     code = 13
	codeCantOpen code = 14
	codeAuth     code = 23
	codeNotADB   code = 26
)

// remedies say what to do about SQLite's own errors.
var remedies = map[code]Error{
	codeNotADB:   {Reason: "not a database", Remedy: "use --db with another file, or move it away if it should be one"},
	codeCorrupt:  {Reason: "damaged", Remedy: `keep it, try "sqlite3 FILE .recover", and use --db with another file meanwhile`},
	codeFull:     {Reason: "the disk is full", Remedy: "free some space and run again; the cells that were stored are kept"},
	codeIoErr:    {Reason: "the disk cannot be written or read", Remedy: "check the disk and its free space; the cells that were stored are kept"},
	codeReadonly: {Reason: "cannot be written", Remedy: "change the permissions of the file and its folder, or use --db"},
	codeCantOpen: {Reason: "cannot be opened", Remedy: "check that the folder exists and can be written, or use --db"},
	codePerm:     {Reason: "cannot be opened", Remedy: "change its permissions, or use --db"},
	codeBusy:     {Reason: fmt.Sprintf("in use by another process for more than %v", busyTimeout), Remedy: "wait for it, or use --db"},
	codeLocked:   {Reason: "in use by another process", Remedy: "wait for it, or use --db"},
}

// because returns e with a cause.
func (e Error) because(cause error) error {
	e.Err = cause
	return &e
}

// explain turns err into an *Error about path with a remedy, where we know one.
func explain(path string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		if known.Path == "" {
			known.Path = path
		}
		return err
	}
	c, ok := codeOf(err)
	if !ok {
		return explainFile(path, err)
	}
	e, ok := remedies[c]
	if !ok {
		return fmt.Errorf("results: %s: %w", path, err)
	}
	e.Path = path
	return e.because(err)
}

// explainFile is explain for the errors of the file system.
func explainFile(path string, err error) error {
	e := &Error{Path: path, Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.EDQUOT):
		e.Reason, e.Remedy = "the disk is full", remedies[codeFull].Remedy
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Reason, e.Remedy = "cannot be written", remedies[codeReadonly].Remedy
	default:
		return fmt.Errorf("results: %s: %w", path, err)
	}
	return e
}
