package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// A Manifest is the files of an untouched image. Against it a capture neither
// hashes nor sends a file whose inode says that nothing happened to it.
//
// A guest's root can forge what an inode says, and a Host is not fooled: it looks
// at what was written to the disk.
type Manifest struct {
	image   string   // digest
	witness string   // who told of the files
	records []Record // of kind file, sorted by key
	view    *view    // nil unless the host told of the files
}

// NewManifest makes a manifest of a capture's files.
func NewManifest(c Capture) *Manifest {
	var files []Record
	for _, r := range c.Records {
		if r.Kind == File && r.Attrs["ctime"] != "" {
			files = append(files, r)
		}
	}
	return newManifest(c.Image, c.Witness, files)
}

func newManifest(image, witness string, files []Record) *Manifest {
	m := &Manifest{image: image, witness: witness, records: files}
	if witness == WitnessHost {
		m.view = viewOf(m)
	}
	return m
}

// Len returns how many files the manifest holds.
func (m *Manifest) Len() int { return len(m.records) }

// FromHost reports whether the host read the image's files itself. No manifest is
// from nobody.
func (m *Manifest) FromHost() bool { return m != nil && m.witness == WitnessHost }

// manifestHeader is the first line of a manifest's file. Behind it lie the records
// as the agent sends them, compressed: they are read with every run.
type manifestHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Image   string `json:"image,omitempty"`
	Witness string `json:"witness,omitempty"`
}

const manifestFormat = "assay-manifest-2"

// ReadManifest reads what WriteManifest wrote.
func ReadManifest(path string) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	m, err := readManifest(f)
	if err != nil {
		return nil, fmt.Errorf("manifest: %s: %w; build the image again", path, err)
	}
	return m, nil
}

func readManifest(r io.Reader) (*Manifest, error) {
	in := bufio.NewReader(r)
	h, err := readManifestHeader(in)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	s, err := decodeStream(z, 0)
	if err != nil {
		return nil, err
	}
	return newManifest(h.Image, h.Witness, s.records), nil
}

func readManifestHeader(in *bufio.Reader) (h manifestHeader, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	if json.Unmarshal(line, &h) != nil || h.Format != manifestFormat || h.Version != Version {
		return h, fmt.Errorf("header: got %q of collector version %d, want %q of version %d", cut(h.Format, 40), h.Version, manifestFormat, Version)
	}
	return h, nil
}

// CheckManifest tells, without reading it all, whether a manifest was written by
// collectors like these. Another one's says nothing that could be compared, and
// neither does the agent that was put into its image.
func CheckManifest(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	if _, err := readManifestHeader(bufio.NewReader(f)); err != nil {
		return fmt.Errorf("manifest: %s: %w", path, err)
	}
	return nil
}

// WriteManifest writes the files of c to path.
func WriteManifest(path string, c Capture) error {
	var b bytes.Buffer
	if err := NewManifest(c).write(&b, c.Version); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

func (m *Manifest) write(w io.Writer, version int) error {
	if err := json.NewEncoder(w).Encode(manifestHeader{manifestFormat, version, m.image, m.witness}); err != nil {
		return err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	enc := newEncoder(z)
	for _, r := range m.records {
		enc.record(r)
	}
	return errors.Join(enc.end(), z.Close())
}
