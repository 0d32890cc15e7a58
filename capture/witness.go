package capture

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"assay/guest"
)

// WitnessMethod is the name under which the agent says what it sees at given paths.
const WitnessMethod = "witness"

// witnessRequest precedes the paths: each ends with a NUL.
type witnessRequest struct {
	Version int `json:"version"`
}

// A testimony is what an agent says of one path: the attributes of a file's
// record that its inode tells, and of a folder the names in it, parted by slashes.
// What is not there is missing: "yes", what cannot be looked at has an error.
const testimony = "testimony"

// The bounds of what one agent is asked.
const (
	maxQuestions = 4096
	maxNames     = 1 << 20 // bytes of the names in one folder
)

// WitnessHandler returns the agent's side: it looks at the paths that it is asked
// about.
func WitnessHandler() guest.Handler { return WitnessOf(Local()) }

// WitnessOf is WitnessHandler for a guest that is not the running system.
func WitnessOf(src Source) guest.Handler {
	return func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
		var req witnessRequest
		if err := json.Unmarshal(args, &req); err != nil {
			return nil, fmt.Errorf("witness: request: %w", err)
		}
		if req.Version != Version {
			return nil, fmt.Errorf("witness: host's collectors are version %d, the agent's %d; build the image again", req.Version, Version)
		}
		return struct{}{}, testify(ctx, source{src}, in, out)
	}
}

func testify(ctx context.Context, src source, in io.Reader, out io.Writer) error {
	enc := newEncoder(out)
	paths := bufio.NewReader(io.LimitReader(in, maxQuestions*(maxPath+1)))
	for {
		p, err := paths.ReadString(0)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("witness: paths: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p = strings.TrimSuffix(p, "\x00")
		enc.record(Record{testimony, Escape(p), src.testimony(p)})
	}
	if err := enc.end(); err != nil {
		return fmt.Errorf("witness: send: %w", err)
	}
	return nil
}

// testimony says what is at a path.
func (s source) testimony(p string) map[string]string {
	st, err := s.Lstat(p)
	switch {
	case missing(err):
		return map[string]string{"missing": "yes"}
	case err != nil:
		return map[string]string{"error": line(cause(err))}
	}
	e := entry{path: p, stat: st, target: s.target(p, st)}
	a := inodeAttrs(e)
	if st.Mode&typeMask == typeDir {
		entries, err := s.ReadDir(p)
		if err != nil {
			a["error"] = line(cause(err))
			return a
		}
		a["names"] = joinNames(entries)
	}
	return a
}

// joinNames joins names by slashes, which no name holds; too many are left out.
func joinNames(entries []fs.DirEntry) string {
	var b strings.Builder
	for _, e := range entries {
		if b.Len() > maxNames {
			return ""
		}
		b.WriteString(Escape(e.Name()))
		b.WriteByte('/')
	}
	return b.String()
}

// question asks an agent what it sees at paths; the answers are by escaped path.
// An agent that leaves one out has said nothing of it.
func question(ctx context.Context, call caller, paths []string) (map[string]map[string]string, error) {
	in := strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	s, err := converse(ctx, call, WitnessMethod, witnessRequest{Version}, in, func(r io.Reader) (stream, error) { return decodeStream(r, 0) })
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	answers := make(map[string]map[string]string, len(s.records))
	for _, rec := range s.records {
		if rec.Kind == testimony {
			answers[rec.Key] = rec.Attrs
		}
	}
	return answers, nil
}
