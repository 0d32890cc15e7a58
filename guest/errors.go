package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode"
)

// ErrLimit is what an Error matches when a bound was exceeded: a file longer
// than the caller's limit, a tree of too many files, too many calls at once.
var ErrLimit = errors.New("limit exceeded")

// ErrUser is what an Error matches when the guest has no such user. It matches
// fs.ErrNotExist too.
var ErrUser = fmt.Errorf("no such user: %w", fs.ErrNotExist)

// A LineError says that the line to the agent is dead: everything that was
// under way on it has failed, and a new one must be dialled.
type LineError struct {
	Err error
}

func (e *LineError) Error() string { return fmt.Sprintf("line: %v", e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// A VersionError says that the agent speaks another version of the protocol.
type VersionError struct {
	Agent, Host uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("got an agent of protocol %d, want %d, which is what this assay speaks; build the image again", e.Agent, e.Host)
}

// An Error is the agent's answer that a call failed in the guest. It matches
// the sentinel that its kind names: see errorKinds.
type Error struct {
	Method  string // exec, push, …
	Kind    string // a word of errorKinds, or empty
	Message string // the guest's words, bounded, control characters escaped
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return errorKinds[e.Kind] }

// errorKinds are the errors that keep their identity on the line.
var errorKinds = map[string]error{
	"user":        ErrUser,
	"not_exist":   fs.ErrNotExist,
	"permission":  fs.ErrPermission,
	"exist":       fs.ErrExist,
	"unsupported": errors.ErrUnsupported,
	"canceled":    context.Canceled,
	"deadline":    context.DeadlineExceeded,
	"limit":       ErrLimit,
}

// kindOf returns the word for err, or "".
func kindOf(err error) string {
	if errors.Is(err, ErrUser) { // before the wider one that it matches
		return "user"
	}
	for kind, sentinel := range errorKinds {
		if errors.Is(err, sentinel) {
			return kind
		}
	}
	return ""
}

// maxMessage bounds an error's text.
const maxMessage = 4 << 10

// printable cuts s to at most limit bytes and escapes what a terminal would obey.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	plain := func(r rune) bool { return unicode.IsPrint(r) || r == '\n' || r == '\t' }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if plain(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
