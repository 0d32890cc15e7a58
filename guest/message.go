package guest

import (
	"encoding/json"
	"fmt"
	"io/fs"
)

// An opening begins a call.
type opening struct {
	Method string          `json:"method"`
	Args   json.RawMessage `json:"args,omitempty"`
	Input  bool            `json:"input,omitempty"` // data will follow, then an end
}

// An outcome ends a call.
type outcome struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"` // empty: the call succeeded
	Kind   string          `json:"kind,omitempty"`  // a word of errorKinds
}

// The methods of a System.
const (
	methodPing  = "ping"
	methodInfo  = "info"
	methodExec  = "exec"
	methodPush  = "push"
	methodPull  = "pull"
	methodRead  = "read"
	methodWrite = "write"
	methodWait  = "wait"
	methodRenew = "renew"
)

// renewed is the result of a renewal.
type renewed struct {
	Lacking []string `json:"lacking,omitempty"` // types of host keys that are still the twin's
	Info    *Info    `json:"info,omitempty"`    // what the guest is now
}

// The arguments of methods that take more than one of the room's own words.
type (
	pushArgs struct {
		Path string `json:"path"`
		PushOptions
	}
	pullArgs struct {
		Path string `json:"path"`
		PullOptions
	}
	readArgs struct {
		Path  string `json:"path"`
		Limit int64  `json:"limit"`
	}
	writeArgs struct {
		Path string      `json:"path"`
		Mode fs.FileMode `json:"mode"`
		User string      `json:"user,omitempty"`
	}
)

// maxDepth bounds the nesting of JSON on the line.
const maxDepth = 64

// decode reads JSON from the peer.
func decode(b []byte, v any) error {
	if err := checkDepth(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("json: %s", printable(err.Error(), maxMessage))
	}
	return nil
}

// checkDepth refuses JSON that nests too deeply. Invalid JSON is left to Unmarshal.
func checkDepth(b []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("json: got nesting deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
