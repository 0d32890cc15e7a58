package capture

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// journal observes the errors that were logged since boot. It reads journald's
// files itself; journalctl, which takes much longer to start than to answer, is
// asked only if that cannot be done.
type journal struct{}

func (journal) Name() string    { return "journal" }
func (journal) Kinds() []string { return []string{Journal} }
func (journal) Live() bool      { return true }

// maxMessages bounds how many errors are told apart.
const maxMessages = 2000

// message is what is wanted of one line.
type message struct{ message, identifier, comm, unit, priority string }

func (journal) Collect(ctx context.Context, src Source, out *Sink) error {
	all, err := readJournals(ctx, src, out)
	if err != nil {
		asked, askErr := askJournalctl(ctx, src)
		if !errors.Is(askErr, errors.ErrUnsupported) {
			all, err = asked, askErr
		}
	}
	if err != nil && !errors.Is(err, errNoJournal) {
		out.Problem("journal: %v", err)
	}
	emitMessages(all, out)
	return ctx.Err()
}

// errNoJournal is what a guest gives that has no journald.
var errNoJournal = errors.New("no journal")

// emitMessages counts what differs in numbers only as one.
func emitMessages(all []message, out *Sink) {
	found := map[string]Record{}
	count := map[string]int{}
	for _, m := range all {
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
}

func (m message) record() Record {
	id := word(m.identifier)
	if id == "" {
		id = word(m.comm)
	}
	msg := word(m.message)
	return Record{Journal, cut(id+": "+level(msg), 1024), attrs("identifier", id, "unit", word(m.unit), "priority", word(m.priority), "message", msg)}
}

// word makes a line of a field.
func word(s string) string { return cut(line(s), 1024) }

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

// askJournalctl has journalctl read the journal.
func askJournalctl(ctx context.Context, src Source) ([]message, error) {
	data, err := src.Run(ctx, "journalctl", "-b", "-p", "err", "-n", decimal(maxEntries), "--no-pager", "--all", "--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_SYSTEMD_UNIT,PRIORITY")
	return parseJournalctl(data), err
}

func parseJournalctl(data []byte) (all []message) {
	for l := range bytes.Lines(data) {
		var f map[string]any
		if json.Unmarshal(l, &f) == nil {
			all = append(all, message{jsonText(f["MESSAGE"]), jsonText(f["SYSLOG_IDENTIFIER"]), jsonText(f["_COMM"]), jsonText(f["_SYSTEMD_UNIT"]), jsonText(f["PRIORITY"])})
		}
	}
	return all
}

// jsonText is a field as journalctl's JSON has it: bytes that are no text are an
// array of numbers, several values an array of those.
func jsonText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b []byte
		for _, n := range v {
			f, ok := n.(float64)
			if !ok {
				return jsonText(n)
			}
			b = append(b, byte(f))
		}
		return string(b)
	}
	return ""
}

// journalRoots hold a folder for each machine id: what a boot logs before and
// after the disk can be written.
var journalRoots = []string{"/run/log/journal", "/var/log/journal"}

// maxJournals bounds how many files are opened.
const maxJournals = 1000

// logged is where a line is.
type logged struct {
	file *journalFile
	journalEntry
}

// readJournals reads what journald wrote since boot. An error means that another
// reader may know better.
func readJournals(ctx context.Context, src Source, out *Sink) ([]message, error) {
	paths := journalPaths(src)
	if len(paths) == 0 {
		return nil, errNoJournal
	}
	boot, err := bootID(src)
	if err != nil {
		return nil, err
	}
	var found []logged
	for _, p := range paths {
		r, shut, err := openAt(src, p)
		if missing(err) {
			continue // moved on meanwhile
		}
		if err != nil {
			return nil, err
		}
		defer shut()
		more, err := errorsOf(r, boot)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
		if err != nil {
			out.Problem("journal: %s: %s", p, cause(err))
		}
		found = append(found, more...)
	}
	slices.SortStableFunc(found, func(a, b logged) int { return cmp.Compare(a.monotonic, b.monotonic) })
	return messages(ctx, found[max(0, len(found)-maxEntries):], out)
}

// bootID returns the number of the running system's boot.
func bootID(src Source) (id [16]byte, err error) {
	data, err := src.ReadFile("/proc/sys/kernel/random/boot_id", 64)
	if err != nil {
		return id, err
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(data)), "-", ""))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("boot id: got %q, want 32 hex digits", cut(Escape(string(data)), 80))
	}
	return [16]byte(raw), nil
}

// journalPaths lists the journal's files. A machine that got a new id has more
// than one folder; those of namespaces have a dot in their names.
func journalPaths(src Source) []string {
	var found []string
	for _, root := range journalRoots {
		ids, _ := src.ReadDir(root)
		for _, id := range ids {
			if _, err := hex.DecodeString(id.Name()); err != nil {
				continue
			}
			files, _ := src.ReadDir(path.Join(root, id.Name()))
			for _, f := range files {
				if ext := path.Ext(f.Name()); ext == ".journal" || ext == ".journal~" {
					found = append(found, path.Join(root, id.Name(), f.Name()))
				}
			}
		}
	}
	return found[max(0, len(found)-maxJournals):]
}

// openAt opens a file for reading anywhere in it.
func openAt(src Source, p string) (r io.ReaderAt, shut func() error, err error) {
	f, err := source{src}.open(p)
	if err != nil {
		return nil, nil, err
	}
	if r, ok := f.(io.ReaderAt); ok {
		return r, f.Close, nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJournal))
	return bytes.NewReader(data), func() error { return nil }, err
}

// errorsOf finds the lines of a boot with a level of error or worse. What was
// found before an error is returned with it.
func errorsOf(r io.ReaderAt, boot [16]byte) ([]logged, error) {
	f, err := openJournal(r)
	if err != nil || f.boot != boot {
		return nil, err // whoever wrote last knows of no later boot
	}
	levels, err := f.values("PRIORITY")
	if err != nil {
		return nil, err
	}
	var found []logged
	wanted := "0123"
	for _, at := range levels {
		_, value, err := f.value(at)
		if err != nil {
			return found, err
		}
		if len(value) != 1 || !strings.Contains(wanted, value) {
			continue
		}
		wanted = strings.Replace(wanted, value, "", 1)
		more, err := f.since(at, boot)
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// since returns the newest entries of a boot that have a data object.
func (f *journalFile) since(data uint64, boot [16]byte) ([]logged, error) {
	entries, err := f.references(data)
	if err != nil {
		return nil, err
	}
	var found []logged
	for _, at := range slices.Backward(entries) {
		e, err := f.head(at)
		if err != nil {
			return found, err
		}
		if e.boot != boot {
			break // a file is written from the past to the present
		}
		found = append(found, logged{f, e})
	}
	return found, nil
}

// messages reads the lines that were found.
func messages(ctx context.Context, found []logged, out *Sink) ([]message, error) {
	all := make([]message, 0, len(found))
	for _, l := range found {
		m, err := l.file.message(l.at)
		if err != nil {
			l.file.forget() // what was kept may be older than the entry
			m, err = l.file.message(l.at)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errors.ErrUnsupported):
			return nil, err
		case err != nil:
			out.Problem("journal: entry at %d: %s", l.at, cause(err))
		default:
			all = append(all, m)
		}
	}
	return all, nil
}

// message reads an entry's fields; of several of one name the first counts.
func (f *journalFile) message(entry uint64) (m message, err error) {
	items, err := f.items(entry)
	if err != nil {
		return m, err
	}
	fields := map[string]*string{"MESSAGE": &m.message, "SYSLOG_IDENTIFIER": &m.identifier, "_COMM": &m.comm, "_SYSTEMD_UNIT": &m.unit, "PRIORITY": &m.priority}
	for _, at := range items {
		name, value, err := f.value(at)
		if err != nil {
			return m, err
		}
		if to := fields[name]; to != nil && *to == "" {
			*to = value
		}
	}
	return m, nil
}
