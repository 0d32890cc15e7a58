package capture

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// The agent sends records in a form that is small without being compressed,
// because the guest's processor may be emulated and the line is fast: strings
// that repeat are sent once, a key as what differs from the one before it,
// digests and numbers in binary.
const wireMagic = "assay-capture-wire-1\n"

// The items of the stream. It ends with itemEnd and the number of records.
const (
	itemEnd byte = iota
	itemRecord
	itemProblem
	itemSeen // the bits of prints
)

// How a value is written.
const (
	valueRaw byte = iota
	valueWord
	valueDigest
	valueNumber
)

const (
	maxWords    = 1 << 16 // strings that an encoder and a decoder remember
	maxWireWord = 64      // bytes of a string that is remembered
)

// encoder writes a stream of records. Its first error stays.
type encoder struct {
	w     *bufio.Writer
	words map[string]uint64
	key   string
	n     uint64
	buf   [binary.MaxVarintLen64]byte
}

func newEncoder(w io.Writer) *encoder {
	e := &encoder{w: bufio.NewWriterSize(w, 64<<10), words: map[string]uint64{}}
	e.w.WriteString(wireMagic)
	return e
}

func (e *encoder) number(n uint64) { e.w.Write(binary.AppendUvarint(e.buf[:0], n)) }

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.w.WriteString(s)
}

// word writes a string that is likely to come again.
func (e *encoder) word(s string) {
	if i, ok := e.words[s]; ok {
		e.number(i + 1)
		return
	}
	e.number(0)
	e.text(s)
	if len(e.words) < maxWords {
		e.words[s] = uint64(len(e.words))
	}
}

func (e *encoder) record(r Record) {
	e.n++
	e.w.WriteByte(itemRecord)
	e.word(r.Kind)
	shared := 0
	for shared < len(r.Key) && shared < len(e.key) && r.Key[shared] == e.key[shared] {
		shared++
	}
	e.number(uint64(shared))
	e.text(r.Key[shared:])
	e.key = r.Key
	e.number(uint64(len(r.Attrs)))
	for k, v := range r.Attrs {
		e.word(k)
		e.value(v)
	}
}

func (e *encoder) value(v string) {
	if n, ok := canonicalNumber(v); ok {
		e.w.WriteByte(valueNumber)
		e.number(n)
		return
	}
	if d, ok := canonicalDigest(v); ok {
		e.w.WriteByte(valueDigest)
		e.w.Write(d[:])
		return
	}
	if _, known := e.words[v]; known || len(v) <= maxWireWord && len(e.words) < maxWords {
		e.w.WriteByte(valueWord)
		e.word(v)
		return
	}
	e.w.WriteByte(valueRaw)
	e.text(v)
}

func (e *encoder) problem(s string) {
	e.w.WriteByte(itemProblem)
	e.text(s)
}

func (e *encoder) seen(bits []byte) {
	e.w.WriteByte(itemSeen)
	e.number(uint64(len(bits)))
	e.w.Write(bits)
}

func (e *encoder) end() error {
	e.w.WriteByte(itemEnd)
	e.number(e.n)
	return e.w.Flush()
}

// canonicalNumber returns the number that s is, if it is written as strconv
// writes it, so that it comes out as it went in.
func canonicalNumber(s string) (uint64, bool) {
	if s == "" || len(s) > 19 || s[0] == '0' && s != "0" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// canonicalDigest returns the 32 bytes that s is in lower-case hexadecimal.
func canonicalDigest(s string) (d [32]byte, ok bool) {
	if len(s) != 64 {
		return d, false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return d, false
		}
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err == nil
}

// stream is what a decoder found.
type stream struct {
	records  []Record
	problems []string
	seen     []byte
}

// decoder reads a stream of records from a guest, which may send anything.
type decoder struct {
	r     *bufio.Reader
	words []string
	key   string
	bytes int64 // that the records hold
	room  int64 // how many they may hold
}

// decodeStream reads a whole stream. want is how many bytes of seen bits there
// must be.
func decodeStream(r io.Reader, want int) (stream, error) {
	return (&decoder{r: bufio.NewReaderSize(r, 64<<10), room: maxTotal}).all(want)
}

func (d *decoder) all(want int) (stream, error) {
	s, err := d.stream(want)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return stream{}, fmt.Errorf("records from the guest: after %d: %w", len(s.records), err)
	}
	return s, nil
}

func (d *decoder) stream(want int) (s stream, err error) {
	magic := make([]byte, len(wireMagic))
	if _, err := io.ReadFull(d.r, magic); err != nil {
		return s, err
	}
	if string(magic) != wireMagic {
		return s, fmt.Errorf("got %q, want %q", magic, wireMagic)
	}
	for {
		item, err := d.r.ReadByte()
		if err != nil {
			return s, err
		}
		if item == itemEnd {
			return s, d.end(s)
		}
		if err := d.item(item, &s, want); err != nil {
			return s, err
		}
	}
}

func (d *decoder) item(item byte, s *stream, want int) error {
	switch item {
	case itemRecord:
		r, err := d.record()
		s.records = append(s.records, r)
		if err == nil && len(s.records) > maxRecords {
			err = fmt.Errorf("more than %d records", maxRecords)
		}
		return err
	case itemProblem:
		p, err := d.text(maxProblem)
		s.problems = append(s.problems, cut(Escape(p), maxProblem))
		if err == nil && len(s.problems) > maxProblems+1 {
			err = fmt.Errorf("more than %d problems", maxProblems)
		}
		return err
	case itemSeen:
		n, err := d.number(uint64(want))
		if err != nil || n != want {
			return fmt.Errorf("got %d bytes of seen files, want %d: %w", n, want, err)
		}
		s.seen = make([]byte, n)
		_, err = io.ReadFull(d.r, s.seen)
		return err
	}
	return fmt.Errorf("got item %d, want 0 to 3", item)
}

func (d *decoder) end(s stream) error {
	n, err := d.number(maxRecords)
	if err == nil && n != len(s.records) {
		err = fmt.Errorf("got %d records, want %d", len(s.records), n)
	}
	return err
}

func (d *decoder) number(limit uint64) (int, error) {
	n, err := binary.ReadUvarint(d.r)
	if err == nil && n > limit {
		err = fmt.Errorf("got %d, want at most %d", n, limit)
	}
	return int(min(n, limit)), err
}

// text reads a string of at most limit bytes. Memory is taken as bytes come, not
// as they are promised.
func (d *decoder) text(limit uint64) (string, error) {
	n, err := d.number(limit)
	if err != nil {
		return "", err
	}
	if d.bytes += int64(n); d.bytes > d.room {
		return "", d.tooMany()
	}
	if n <= d.r.Size() {
		b, err := d.r.Peek(n)
		s := string(b)
		d.r.Discard(len(b))
		return s, err
	}
	b, err := io.ReadAll(io.LimitReader(d.r, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	return string(b), err
}

func (d *decoder) word() (string, error) {
	i, err := d.number(maxWords)
	if err != nil {
		return "", err
	}
	if i > len(d.words) {
		return "", fmt.Errorf("got word %d of %d", i, len(d.words))
	}
	if i > 0 {
		s := d.words[i-1]
		d.bytes += int64(len(s))
		return s, nil
	}
	s, err := d.text(maxKey)
	if err == nil && len(d.words) < maxWords {
		d.words = append(d.words, s)
	}
	return s, err
}

func (d *decoder) record() (r Record, err error) {
	if r.Kind, err = d.word(); err != nil {
		return r, err
	}
	if r.Key, err = d.recordKey(); err != nil {
		return r, err
	}
	n, err := d.number(maxAttrs)
	if err != nil {
		return r, err
	}
	if n > 0 {
		r.Attrs = make(map[string]string, min(n, 16))
	}
	for range n {
		k, err := d.word()
		if err != nil {
			return r, err
		}
		if r.Attrs[k], err = d.value(); err != nil {
			return r, err
		}
	}
	return r, d.sane(r)
}

// sane refuses what no collector makes.
func (d *decoder) sane(r Record) error {
	if r.Kind == "" || r.Key == "" || len(r.Key) > maxKey || !utf8.ValidString(r.Kind) || !utf8.ValidString(r.Key) {
		return fmt.Errorf("got kind %q, key %q", cut(r.Kind, 40), cut(r.Key, 80))
	}
	if d.bytes > d.room {
		return d.tooMany()
	}
	for k, v := range r.Attrs {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%s %q: attribute %q is not UTF-8", r.Kind, cut(r.Key, 80), cut(k, 40))
		}
	}
	return nil
}

func (d *decoder) tooMany() error { return fmt.Errorf("more than %d bytes", d.room) }

func (d *decoder) recordKey() (string, error) {
	shared, err := d.number(uint64(len(d.key)))
	if err != nil {
		return "", err
	}
	rest, err := d.text(maxKey)
	d.bytes += int64(shared)
	d.key = d.key[:shared] + rest
	return d.key, err
}

func (d *decoder) value() (string, error) {
	form, err := d.r.ReadByte()
	if err != nil {
		return "", err
	}
	switch form {
	case valueRaw:
		return d.text(maxAttr)
	case valueWord:
		return d.word()
	case valueNumber:
		n, err := binary.ReadUvarint(d.r)
		d.bytes += 20
		return strconv.FormatUint(n, 10), err
	case valueDigest:
		var b [32]byte
		_, err := io.ReadFull(d.r, b[:])
		d.bytes += 64
		return hex.EncodeToString(b[:]), err
	}
	return "", fmt.Errorf("got value form %d, want 0 to 3", form)
}

// The fingerprints go the other way: a key, how many there are, and each in eight bytes.
const printsMagic = "assay-capture-known-1\n"

func writePrints(w io.Writer, known []Record, key [2]uint64) error {
	p := prints{key: key}
	out := bufio.NewWriterSize(w, 64<<10)
	out.WriteString(printsMagic)
	var b [8]byte
	for _, n := range [...]uint64{key[0], key[1], uint64(len(known))} {
		binary.LittleEndian.PutUint64(b[:], n)
		out.Write(b[:])
	}
	for _, r := range known {
		binary.LittleEndian.PutUint64(b[:], p.ofRecord(r))
		out.Write(b[:])
	}
	return out.Flush()
}

// readPrints reads what writePrints wrote.
func readPrints(r io.Reader) (*prints, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head := make([]byte, len(printsMagic)+24)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, fmt.Errorf("known files: %w", err)
	}
	nums := head[len(printsMagic):]
	n := binary.LittleEndian.Uint64(nums[16:])
	if string(head[:len(printsMagic)]) != printsMagic || n > maxRecords {
		return nil, fmt.Errorf("known files: got %q and %d files", head[:len(printsMagic)], n)
	}
	p := &prints{key: [2]uint64{binary.LittleEndian.Uint64(nums), binary.LittleEndian.Uint64(nums[8:])}, index: make(map[uint64]int32, n), seen: make([]byte, (n+7)/8)}
	var b [8]byte
	for i := range int32(n) {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return nil, fmt.Errorf("known files: %w", err)
		}
		p.index[binary.LittleEndian.Uint64(b[:])] = i
	}
	return p, nil
}
