package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// The boot of the fixtures, and the forms of the format that they have.
const fixtureBoot = "01234567-89ab-cdef-0123-456789abcdef"

var journalForms = []string{"keyed-compact", "keyed", "jenkins"}

// journalFixture returns a file of testdata/journal, unpacked.
func journalFixture(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata/journal", name+".zst"))
	check(t, err)
	z, err := zstd.NewReader(nil)
	check(t, err)
	defer z.Close()
	data, err := z.DecodeAll(packed, nil)
	check(t, err)
	return data
}

// recordsOf emits messages as the collector does.
func recordsOf(all []message) Capture {
	var records []Record
	sink := newSink(func(r Record) { records = append(records, r) })
	emitMessages(all, sink)
	return finish("", records, sink.Problems())
}

// readFixture reads one file's errors of the fixtures' boot.
func readFixture(t testing.TB, data io.ReaderAt) ([]message, []string, error) {
	boot, err := bootID(Dir(writeTree(t, map[string]string{"proc/sys/kernel/random/boot_id": fixtureBoot + "\n"})))
	check(t, err)
	sink := newSink(func(Record) {})
	found, err := errorsOf(data, boot)
	slices.SortStableFunc(found, func(a, b logged) int { return int(a.monotonic) - int(b.monotonic) })
	all, err2 := messages(t.Context(), found, sink)
	if err == nil {
		err = err2
	}
	return all, sink.Problems(), err
}

// Every form of journald's files reads as journalctl reads it.
func TestJournalIsWhatJournalctlSays(t *testing.T) {
	oracle := parseJournalctl(journalFixture(t, "oracle.json"))
	want := render(recordsOf(oracle))
	if n := strings.Count(want, "\n"); n < 15 || !strings.Contains(want, `message="\\x1b[1mbold\\xff\\nsecond line"`) {
		t.Fatalf("the oracle tells too little: %d lines", n)
	}
	for _, form := range journalForms {
		all, problems, err := readFixture(t, bytes.NewReader(journalFixture(t, form+".journal")))
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, problems %q", form, err, problems)
		}
		if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(render(recordsOf(all)), "\n")); d != "" {
			t.Errorf("%s (-journalctl +got):\n%s", form, d)
		}
		for i := range min(len(all), len(oracle)) {
			if got, want := cut(all[i].message, 40), cut(oracle[i].message, 40); got != want {
				t.Fatalf("%s: line %d is %q, want %q", form, i, got, want)
			}
		}
	}
}

// journalTree is a guest with a journal; at the top are the recording of what
// journalctl would say, and its boot.
func journalTree(t *testing.T, boot string, files map[string][]byte) Source {
	tree := map[string]string{"proc/sys/kernel/random/boot_id": boot, ".run/journalctl -b -p err -n 10000": `{"MESSAGE":"asked","PRIORITY":"3","_COMM":"journalctl"}` + "\n"}
	for p, data := range files {
		tree[p] = string(data)
	}
	return Dir(writeTree(t, tree))
}

func TestJournalCollector(t *testing.T) {
	const folder, other = "var/log/journal/00000000000000000000000000000001/", "run/log/journal/00000000000000000000000000000002/"
	good := journalFixture(t, "keyed.journal")
	newer := slices.Clone(good)
	newer[12] |= 0x80
	old := slices.Clone(good)
	copy(old[56:], strings.Repeat("\x05", 16))
	whole := len(recordsOf(parseJournalctl(journalFixture(t, "oracle.json"))).Records)
	for name, c := range map[string]struct {
		boot  string
		files map[string][]byte
		want  int
		asked bool
		why   string
	}{
		"one file":       {fixtureBoot, map[string][]byte{folder + "system.journal": good}, whole, false, ""},
		"two folders":    {fixtureBoot, map[string][]byte{folder + "a.journal": good, other + "b.journal~": good}, whole, false, ""},
		"another boot":   {strings.Repeat("0", 32), map[string][]byte{folder + "system.journal": good}, 0, false, ""},
		"an old file":    {fixtureBoot, map[string][]byte{folder + "system.journal": old}, 0, false, ""},
		"no file":        {fixtureBoot, nil, 1, true, ""},
		"a namespace":    {fixtureBoot, map[string][]byte{"var/log/journal/00000000000000000000000000000001.x/system.journal": good}, 1, true, ""},
		"no boot":        {"soon", map[string][]byte{folder + "system.journal": good}, 1, true, ""},
		"a newer format": {fixtureBoot, map[string][]byte{folder + "system.journal": newer}, 1, true, ""},
		"no journal":     {fixtureBoot, map[string][]byte{folder + "a.journal": make([]byte, 4096), folder + "b.journal": good}, whole, false, "a.journal: not a journal"},
		"a short file":   {fixtureBoot, map[string][]byte{folder + "a.journal": good[:300]}, 0, false, "past the file's end"},
	} {
		got, err := Collect(t.Context(), journalTree(t, c.boot, c.files), Options{Only: []string{"journal"}})
		check(t, err)
		asked := slices.ContainsFunc(got.Records, func(r Record) bool { return r.Attrs["message"] == "asked" })
		if len(got.Records) != c.want || asked != c.asked || !strings.Contains(strings.Join(got.Problems, "\n"), c.why) || c.why == "" && len(got.Problems) > 0 {
			t.Errorf("%s: got %d records, journalctl asked: %v, problems %q; want %d, %v, %q", name, len(got.Records), asked, got.Problems, c.want, c.asked, c.why)
		}
	}
}

// stale is a file of which the first read of each block shows what was there
// before journald wrote its newest entry.
type stale struct {
	data   []byte
	before int64 // bytes; what lies behind reads as nothing, the first time
	seen   map[int64]bool
}

func (s stale) ReadAt(b []byte, at int64) (int, error) {
	n, err := bytes.NewReader(s.data).ReadAt(b, at)
	if !s.seen[at] && at+int64(n) > s.before {
		clear(b[max(0, s.before-at):n])
	}
	s.seen[at] = true
	return n, err
}

// What journald writes while it is read is read again, and is no damage.
func TestJournalThatGrows(t *testing.T) {
	data := journalFixture(t, "keyed.journal")
	end := int64(le64(data[136:])) &^ (journalBlock - 1) // the block of the newest object
	want, _, err := readFixture(t, bytes.NewReader(data))
	check(t, err)
	got, problems, err := readFixture(t, stale{data, end, map[int64]bool{}})
	check(t, err)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(message{})); d != "" || len(problems) > 0 {
		t.Errorf("problems %q (-want +got):\n%s", problems, d)
	}
}

// patched is a file in which a few words are others.
type patched struct {
	data  []byte
	words map[int64][8]byte
}

func (p patched) ReadAt(b []byte, at int64) (int, error) {
	n, err := bytes.NewReader(p.data).ReadAt(b, at)
	for offset, w := range p.words {
		for i, c := range w {
			if place := offset + int64(i) - at; place >= 0 && place < int64(n) {
				b[place] = c
			}
		}
	}
	return n, err
}

// damage makes a patched file of a fuzzer's bytes: which word, and its new value.
func damage(data []byte, used []int64, changes []byte) patched {
	p := patched{data, map[int64][8]byte{}}
	for ; len(changes) >= 12 && len(p.words) < 64; changes = changes[12:] {
		p.words[used[int(binary.LittleEndian.Uint32(changes))%len(used)]] = [8]byte(changes[4:])
	}
	return p
}

// usedWords returns where a file holds something.
func usedWords(data []byte) (used []int64) {
	for i := 0; i+8 <= len(data); i += 8 {
		if le64(data[i:]) != 0 {
			used = append(used, int64(i))
		}
	}
	return used
}

// A damaged or lying file costs little time and memory, whatever it says.
func FuzzJournal(f *testing.F) {
	var files [][]byte
	var used [][]int64
	for _, form := range journalForms {
		data := journalFixture(f, form+".journal")
		files, used = append(files, data), append(used, usedWords(data))
	}
	for i := range uint32(20) { // the words of the header, pointing to themselves
		f.Add(int(i), binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, i), uint64(i)*8))
	}
	f.Fuzz(func(t *testing.T, form int, changes []byte) {
		i := int(uint(form) % uint(len(files)))
		began := time.Now()
		all, _, _ := readFixture(t, damage(files[i], used[i], changes))
		if len(all) > 4*maxEntries || time.Since(began) > time.Minute {
			t.Errorf("%d lines in %v", len(all), time.Since(began))
		}
	})
}

// Chains and arrays that lead back to themselves come to an end.
func TestJournalInCircles(t *testing.T) {
	for _, form := range journalForms {
		data := journalFixture(t, form+".journal")
		for at := uint64(0); at < uint64(len(data)); {
			at = circle(data, at)
		}
		if _, _, err := readFixture(t, bytes.NewReader(data)); err != nil {
			t.Logf("%s: %v", form, err)
		}
	}
}

// circle makes the object at an offset its own successor in every chain, and
// returns where the next object is.
func circle(data []byte, at uint64) (next uint64) {
	if at == 0 {
		return le64(data[88:])
	}
	size := le64(data[at+8:])
	switch data[at] {
	case objectData:
		binary.LittleEndian.PutUint64(data[at+32:], at)
		binary.LittleEndian.PutUint64(data[at+56:], 1<<60)
	case objectField:
		binary.LittleEndian.PutUint64(data[at+24:], at)
	case objectArray:
		binary.LittleEndian.PutUint64(data[at+16:], at)
	}
	if size == 0 {
		return uint64(len(data))
	}
	return at + (size+7)&^7
}

func TestUnpackLZ4(t *testing.T) {
	block := func(n int, body string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(n)), body...)
	}
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		block []byte
		want  string
		ok    bool
	}{
		"literals":      {block(5, "\x50hello"), "hello", true},
		"a copy":        {block(14, "\x52abcde\x05\x00\x30xyz"), "abcdeabcdeaxyz", true},
		"an overlap":    {block(12, "\x14a\x01\x00\x30xyz"), "aaaaaaaaaxyz", true},
		"long literals": {block(300, "\xf0\xff\x1e"+long), long, true},
		"a long copy":   {block(300, "\x1fx\x01\x00\xff\x19"), long[:1+19+255+25], true},
		"cut":           {block(3, "\x50hello"), "hel", true},
		"far back":      {block(20, "\x14a\x02\x00"), "", false},
		"no distance":   {block(20, "\x14a\x00\x00"), "", false},
		"no length":     {block(20, "\xf0\xff"), "", false},
		"no header":     {[]byte("\x05\x00"), "", false},
	} {
		got, err := unpackLZ4(c.block)
		if (err == nil) != c.ok || c.ok && string(got) != c.want {
			t.Errorf("%s: got %q, %v, want %q, %v", name, got, err, c.want, c.ok)
		}
	}
	if got, err := unpackLZ4(block(1<<40, "\x1fx\x01\x00"+strings.Repeat("\xff", 1000)+"\x00")); err != nil || len(got) != maxObject {
		t.Errorf("a bomb: got %d bytes, %v, want %d", len(got), err, maxObject)
	}
	if _, err := unpack(nil, objectXZ); err == nil || !strings.Contains(err.Error(), "not read") {
		t.Errorf("XZ: got %v", err)
	}
}
