package capture

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Counts returns how many records of each kind the capture holds.
func (c Capture) Counts() map[string]int {
	counts := map[string]int{}
	for _, r := range c.Records {
		counts[r.Kind]++
	}
	return counts
}

// Digest returns the SHA-256, in hexadecimal, of the capture's canonical form.
// Captures that hold the same have the same digest.
func (c Capture) Digest() string {
	h := sha256.New()
	w := bufio.NewWriterSize(h, 64<<10)
	d := digester{w: w}
	d.text("assay capture")
	d.number(c.Version)
	d.text(c.Image)
	d.list(c.Problems)
	d.number(len(c.Records))
	for _, r := range c.Records {
		d.record(r)
	}
	w.Flush()
	return hexSum(h)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// digester writes values so that different ones never write the same bytes.
type digester struct {
	w       *bufio.Writer
	scratch []string
}

func (d *digester) number(n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	d.w.Write(b[:])
}

func (d *digester) text(s string) {
	d.number(len(s))
	d.w.WriteString(s)
}

func (d *digester) list(l []string) {
	d.number(len(l))
	for _, s := range l {
		d.text(s)
	}
}

func (d *digester) record(r Record) {
	d.text(r.Kind)
	d.text(r.Key)
	d.scratch = d.scratch[:0]
	for k := range r.Attrs {
		d.scratch = append(d.scratch, k)
	}
	slices.Sort(d.scratch)
	d.number(len(d.scratch))
	for _, k := range d.scratch {
		d.text(k)
		d.text(r.Attrs[k])
	}
}

// fields returns the names of attributes, sorted.
func fields(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// header is the first line of an encoded capture.
type header struct {
	Format   string   `json:"format"`
	Image    string   `json:"image,omitempty"`
	Version  int      `json:"version"`
	Records  int      `json:"records"`
	Problems []string `json:"problems,omitempty"`
	Witness  string   `json:"witness,omitempty"`
	Partial  bool     `json:"partial,omitempty"`
}

const format = "assay-capture-1"

// Encode writes the capture as JSON lines, a header and then one record a line,
// compressed with zstd.
func (c Capture) Encode(w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("encode capture: %w", err)
	}
	if err := errors.Join(c.encode(z), z.Close()); err != nil {
		return fmt.Errorf("encode capture: %w", err)
	}
	return nil
}

func (c Capture) encode(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(header{format, c.Image, c.Version, len(c.Records), c.Problems, c.Witness, c.Partial}); err != nil {
		return err
	}
	for i := range c.Records {
		if err := enc.Encode(&c.Records[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxLine is the longest line of an encoded capture: a key and a record's largest
// attributes, escaped.
const maxLine = 64 << 20

// Decode reads what Encode wrote. What is too large, out of order or holds a
// record twice is an error.
func Decode(r io.Reader) (Capture, error) {
	c, err := decode(r)
	if err != nil {
		return Capture{}, fmt.Errorf("decode capture: %w", err)
	}
	return c, nil
}

func decode(r io.Reader) (Capture, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return Capture{}, err
	}
	defer z.Close()
	in := bufio.NewScanner(io.LimitReader(z, 4*maxTotal))
	in.Buffer(make([]byte, 64<<10), maxLine)
	h, err := decodeHeader(in)
	if err != nil {
		return Capture{}, err
	}
	c := Capture{Image: h.Image, Version: h.Version, Problems: h.Problems, Witness: h.Witness, Partial: h.Partial}
	for in.Scan() {
		var rec Record
		if err := json.Unmarshal(in.Bytes(), &rec); err != nil {
			return Capture{}, fmt.Errorf("record %d: %w", len(c.Records)+1, err)
		}
		if n := len(c.Records); n > 0 && compareKeys(c.Records[n-1], rec) >= 0 {
			return Capture{}, fmt.Errorf("record %d: %s %q is out of order", n+1, rec.Kind, cut(rec.Key, 80))
		}
		c.Records = append(c.Records, rec)
		if len(c.Records) > h.Records {
			break
		}
	}
	if err := in.Err(); err != nil {
		return Capture{}, err
	}
	if len(c.Records) != h.Records {
		return Capture{}, fmt.Errorf("got %d records, want %d: %w", len(c.Records), h.Records, io.ErrUnexpectedEOF)
	}
	return c, nil
}

func decodeHeader(in *bufio.Scanner) (header, error) {
	var h header
	if !in.Scan() {
		return h, cmp.Or(in.Err(), io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(in.Bytes(), &h); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	if h.Format != format || h.Records < 0 || h.Records > maxRecords {
		return h, fmt.Errorf("header: got format %q with %d records, want %q with at most %d", cut(h.Format, 40), h.Records, format, maxRecords)
	}
	return h, nil
}

func compareKeys(a, b Record) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
}
