package capture

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// journal observes the errors that were logged since boot.
type journal struct{}

func (journal) Name() string    { return "journal" }
func (journal) Kinds() []string { return []string{Journal} }
func (journal) Live() bool      { return true }

// maxMessages bounds how many errors are told apart.
const maxMessages = 2000

// message is a line of journalctl's JSON. A field that is not text, or too long, is
// something else than a string there.
type message struct {
	Message    any `json:"MESSAGE"`
	Identifier any `json:"SYSLOG_IDENTIFIER"`
	Comm       any `json:"_COMM"`
	Unit       any `json:"_SYSTEMD_UNIT"`
	Priority   any `json:"PRIORITY"`
}

func (journal) Collect(ctx context.Context, src Source, out *Sink) error {
	data, err := src.Run(ctx, "journalctl", "-b", "-p", "err", "-n", "10000", "--no-pager", "--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_SYSTEMD_UNIT,PRIORITY")
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		out.Problem("journal: %v", err)
	}
	found := map[string]Record{}
	count := map[string]int{}
	for l := range strings.Lines(string(data)) {
		var m message
		if json.Unmarshal([]byte(l), &m) != nil {
			continue
		}
		r := m.record()
		if count[r.Key]++; count[r.Key] == 1 && len(found) < maxMessages {
			found[r.Key] = r
		}
	}
	if len(count) > maxMessages {
		out.Problem("journal: %d different errors, the first %d are kept", len(count), maxMessages)
	}
	for key, r := range found {
		r.Attrs["count"] = decimal(count[key])
		out.Add(r)
	}
	return nil
}

func (m message) record() Record {
	id := word(m.Identifier)
	if id == "" {
		id = word(m.Comm)
	}
	msg := word(m.Message)
	return Record{Journal, cut(id+": "+level(msg), 1024), attrs("identifier", id, "unit", word(m.Unit), "priority", word(m.Priority), "message", msg)}
}

// word makes a line of a field; journalctl gives bytes that are no text as numbers.
func word(v any) string {
	switch v := v.(type) {
	case string:
		return cut(line(v), 1024)
	case []any:
		b := make([]byte, 0, len(v))
		for _, n := range v {
			if f, ok := n.(float64); ok {
				b = append(b, byte(f))
			}
		}
		return cut(line(string(b)), 1024)
	}
	return ""
}

// level makes messages alike that differ in a number only: process ids,
// addresses, counters.
func level(s string) string {
	var b strings.Builder
	digits := false
	for _, r := range s {
		isDigit := r >= '0' && r <= '9'
		if !isDigit {
			b.WriteRune(r)
		} else if !digits {
			b.WriteByte('#')
		}
		digits = isDigit
	}
	return b.String()
}
