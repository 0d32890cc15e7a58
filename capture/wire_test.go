package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// someRecords draws records as collectors make them: any text in keys and values.
func someRecords(t *rapid.T) []Record {
	word := rapid.StringN(1, 20, 80)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
		a := rapid.MapOfN(word, rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9]{1,19}`), rapid.StringMatching(`[0-9a-f]{64}`)), 0, 6).Draw(t, "attrs")
		if len(a) == 0 {
			a = nil
		}
		return Record{rapid.SampledFrom([]string{File, Package, Process, Sysctl}).Draw(t, "kind"), word.Draw(t, "key"), a}
	}), 0, 30).Draw(t, "records")
}

func sameRecords(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(x, y Record) bool {
		return x.Kind == y.Kind && x.Key == y.Key && maps.Equal(x.Attrs, y.Attrs)
	})
}

// What goes into the stream comes out of it, whatever the strings are.
func TestStreamRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := someRecords(t)
		problems := rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,20}`), 0, 5).Draw(t, "problems")
		seen := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "seen")
		var buf bytes.Buffer
		enc := newEncoder(&buf)
		for _, r := range records {
			enc.record(r)
		}
		for _, p := range problems {
			enc.problem(p)
		}
		enc.seen(seen)
		if err := enc.end(); err != nil {
			t.Fatal(err)
		}
		got, err := decodeStream(&buf, len(seen))
		if err != nil {
			t.Fatal(err)
		}
		if !sameRecords(got.records, records) || !slices.Equal(got.problems, problems) || !bytes.Equal(got.seen, seen) {
			t.Fatalf("got %+v, want %+v", got, records)
		}
	})
}

// A stream that is cut at any byte is an error, never a shorter capture.
func TestStreamCutIsAnError(t *testing.T) {
	whole := aStream(t)
	for n := range whole {
		if _, err := decodeStream(bytes.NewReader(whole[:n]), 0); err == nil {
			t.Fatalf("cut after %d of %d bytes: no error", n, len(whole))
		}
	}
}

func aStream(t testing.TB) []byte {
	var buf bytes.Buffer
	enc := newEncoder(&buf)
	enc.record(Record{File, "/etc/passwd", attrs("type", "file", "size", "12", "sha256", strings.Repeat("ab", 32))})
	enc.record(Record{File, "/etc/profile", attrs("type", "file", "size", "13", "text", strings.Repeat("long ", 30))})
	enc.problem("one")
	if err := enc.end(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestStreamRefusesNonsense(t *testing.T) {
	head := wireMagic
	for _, c := range []struct{ name, stream, want string }{
		{"other magic", strings.Repeat("x", 40), "want"},
		{"unknown item", head + "\x09", "item 9"},
		{"word that was never said", head + "\x01\x05", "word 5 of 0"},
		{"key that shares more than there is", head + "\x01\x00\x04file\x07", "got 7, want at most 0"},
		{"huge key", head + "\x01\x00\x04file\x00\xff\xff\xff\xff\x7f", "want at most"},
		{"empty kind", head + "\x01\x00\x00\x00\x01a\x00", `kind ""`},
		{"too many attributes", head + "\x01\x00\x04file\x00\x01a\xff\x7f", "want at most 512"},
		{"bytes that are not UTF-8", head + "\x01\x00\x04file\x00\x01\xff\x00", "key"},
		{"wrong count", head + "\x00\x03", "got 0 records, want 3"},
		{"seen bits that nobody asked for", head + "\x03\x02ab", "want"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeStream(strings.NewReader(c.stream), 0)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

// An endless guest is stopped by a bound.
func TestStreamIsBounded(t *testing.T) {
	item := "\x01\x00\x04file\x00\x01a\x01\x00\x04text\x00\x80\x80\xc0\x02" + strings.Repeat("x", 5<<20)
	d := decoder{room: 64 << 20}
	d.r = bufio.NewReader(io.MultiReader(strings.NewReader(wireMagic), &endless{item: []byte(item)}))
	if _, err := d.all(0); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Fatalf("got %v, want a bound", err)
	}
}

type endless struct {
	item []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.item[e.at:])
	e.at = (e.at + n) % len(e.item)
	return n, nil
}

func FuzzDecodeStream(f *testing.F) {
	f.Add(aStream(f))
	f.Add([]byte(wireMagic + "\x01\x00\x04file\x00\x01a\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeStream(bytes.NewReader(data), 1)
		if err != nil {
			return
		}
		for _, r := range s.records {
			if r.Kind == "" || r.Key == "" || !utf8.ValidString(r.Key) {
				t.Fatalf("accepted %q %q", r.Kind, r.Key)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	var buf bytes.Buffer
	c := finish("", []Record{{File, "/a", attrs("type", "dir")}, {User, "root", nil}}, nil)
	if err := c.Encode(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Decode(bytes.NewReader(data)); err == nil {
			for i := 1; i < len(c.Records); i++ {
				if compareKeys(c.Records[i-1], c.Records[i]) >= 0 {
					t.Fatal("accepted records out of order")
				}
			}
		}
	})
}

func FuzzReadPrints(f *testing.F) {
	f.Add([]byte(printsMagic + strings.Repeat("\x00", 32)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := readPrints(bytes.NewReader(data)); err == nil && len(p.seen)*8 < len(p.index) {
			t.Fatal("fewer bits than prints")
		}
	})
}

// directly calls a handler as the line would, with the bytes of both ends in JSON.
func directly(h func(context.Context, json.RawMessage, io.Reader, io.Writer) (any, error)) func(context.Context, string, any, io.Reader, io.Writer, any) error {
	return func(ctx context.Context, method string, args any, in io.Reader, out io.Writer, result any) error {
		if method != Method {
			return fmt.Errorf("no method %q", method)
		}
		raw, err := json.Marshal(args)
		if err != nil {
			return err
		}
		_, err = h(ctx, raw, in, out)
		return err
	}
}

// A capture through the line is the capture that one takes oneself, with a
// manifest, without, and when the agent remembers.
func TestTakeIsCollect(t *testing.T) {
	root := writeTree(t, sampleTree)
	src := Dir(root)
	want, err := Collect(t.Context(), src, Options{Image: "sha256:1"})
	if err != nil {
		t.Fatal(err)
	}
	call := directly(HandlerOf(src))
	for _, known := range []*Manifest{nil, NewManifest(want), nil, NewManifest(Capture{Version: Version})} {
		got, err := take(t.Context(), call, Options{Image: "sha256:1", Known: known})
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest() != want.Digest() {
			changes, _, _ := Diff(want, got, DiffOptions{})
			t.Fatalf("with manifest %v: captures differ: %+v", known != nil, changes)
		}
	}
}

// With a manifest only what changed is read: a file whose content changed behind
// an unchanged inode is not seen, and one with a new time is.
func TestManifestSparesReading(t *testing.T) {
	root := writeTree(t, sampleTree)
	src := &counting{Source: Dir(root)}
	first, err := Collect(t.Context(), src, Options{Only: []string{"files"}})
	if err != nil {
		t.Fatal(err)
	}
	all := src.opened.Swap(0)
	write(t, root, "etc/motd", "changed\n")
	second, err := Collect(t.Context(), src, Options{Only: []string{"files"}, Known: NewManifest(first)})
	if err != nil {
		t.Fatal(err)
	}
	if n := src.opened.Load(); n != 1 || all < 5 {
		t.Fatalf("opened %d files at first, then %d, want 1", all, n)
	}
	if got := keysOf(t, first, second); !slices.Equal(got, []string{"modified file:/etc/motd"}) {
		t.Fatalf("got %q", got)
	}
}

// The agent remembers digests, but not of files that changed a moment ago.
func TestMemorySparesHashing(t *testing.T) {
	root := writeTree(t, sampleTree)
	src := &counting{Source: Dir(root)}
	call := directly(HandlerOf(src))
	opt := Options{Only: []string{"files"}}
	if _, err := take(t.Context(), call, opt); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t.Context(), call, opt); err != nil {
		t.Fatal(err)
	}
	if n := src.opened.Swap(0); n < 10 {
		t.Fatalf("opened %d files, want those that have just been written twice", n)
	}
	src.age = true // as if all had been written long ago
	var c Capture
	for range 2 {
		var err error
		if c, err = take(t.Context(), call, opt); err != nil {
			t.Fatal(err)
		}
	}
	known := opt
	known.Known = NewManifest(c)
	for _, o := range []Options{known, opt} { // a manifest makes nothing forgotten
		if _, err := take(t.Context(), call, o); err != nil {
			t.Fatal(err)
		}
	}
	if n := src.opened.Load(); n > 10 {
		t.Fatalf("opened %d files, want each once", n)
	}
}

func TestTakeReportsTheAgentsError(t *testing.T) {
	boom := errors.New("the line broke")
	_, err := take(t.Context(), func(context.Context, string, any, io.Reader, io.Writer, any) error { return boom }, Options{})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v, want %v", err, boom)
	}
	garbage := func(ctx context.Context, _ string, _ any, _ io.Reader, out io.Writer, _ any) error {
		for {
			if _, err := out.Write([]byte(strings.Repeat("garbage", 1000))); err != nil {
				return err
			}
		}
	}
	if _, err := take(t.Context(), garbage, Options{}); err == nil || !strings.Contains(err.Error(), "records from the guest") {
		t.Fatalf("got %v, want a refusal", err)
	}
}

func TestHandlerRefusesAnotherVersion(t *testing.T) {
	_, err := HandlerOf(Dir(t.TempDir()))(t.Context(), json.RawMessage(`{"version":99}`), strings.NewReader(""), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Fatalf("got %v", err)
	}
}

// The vector of the SipHash paper: fifteen bytes, which end up as two words.
func TestSipIsSipHash(t *testing.T) {
	h := newSip([2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908})
	h.word(0x0706050403020100)
	h.word(0x0f0e0d0c0b0a0908)
	if got := h.sum(); got != 0xa129ca6149be45e5 {
		t.Fatalf("got %#x, want 0xa129ca6149be45e5", got)
	}
}

// Everything that a fingerprint is made of changes it.
func TestSipDependsOnEverything(t *testing.T) {
	base := Stat{Mode: typeFile | 0o644, UID: 1, GID: 2, Size: 3, Ino: 4, Mtime: 5, Ctime: 6}
	p := &prints{key: [2]uint64{1, 2}}
	seen := map[uint64]string{p.of("/a", base, "o", "g"): "base"}
	vary := map[string]uint64{
		"path": p.of("/b", base, "o", "g"), "owner": p.of("/a", base, "p", "g"), "group": p.of("/a", base, "o", "h"),
		"shifted": p.of("/a", base, "og", ""), "key": (&prints{key: [2]uint64{1, 3}}).of("/a", base, "o", "g"),
	}
	for name, change := range map[string]func(*Stat){
		"mode": func(s *Stat) { s.Mode++ }, "uid": func(s *Stat) { s.UID++ }, "gid": func(s *Stat) { s.GID++ }, "size": func(s *Stat) { s.Size++ },
		"ino": func(s *Stat) { s.Ino++ }, "mtime": func(s *Stat) { s.Mtime++ }, "ctime": func(s *Stat) { s.Ctime++ },
	} {
		s := base
		change(&s)
		vary[name] = p.of("/a", s, "o", "g")
	}
	for name, print := range vary {
		if other, dup := seen[print]; dup {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[print] = name
	}
}
