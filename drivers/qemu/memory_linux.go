package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	pageSize  = 4096
	entrySize = 8         // of /proc/PID/pagemap, for each page
	chunkSize = 256 << 10 // of memory that is copied at once
)

// Bits of an entry of /proc/PID/pagemap.
const (
	pageFile    = 1 << 61 // belongs to a file, or to nobody yet
	pageSwapped = 1 << 62
	pagePresent = 1 << 63
)

// A region is part of a guest's memory as its QEMU sees it.
type region struct {
	address uint64 // in QEMU
	offset  int64  // in the guest's memory
	size    int64
}

// A span is a range of a guest's memory: bytes from and up to.
type span struct{ from, to int64 }

// mapped finds where the process has mapped the file at path, in the file's order.
func mapped(pid int, path string) ([]region, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	device := fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev))
	maps, err := os.ReadFile(procPath(pid, "maps"))
	if err != nil {
		return nil, err
	}
	var found []region
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != device || f[4] != strconv.FormatUint(st.Ino, 10) {
			continue
		}
		r, err := parseRegion(f[0], f[2])
		if err != nil {
			return nil, fmt.Errorf("maps: %.200q: %w", line, err)
		}
		found = append(found, r)
	}
	return found, nil
}

// parseRegion reads "FROM-TO" and an offset, all in hexadecimal.
func parseRegion(addresses, offset string) (region, error) {
	from, to, _ := strings.Cut(addresses, "-")
	start, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return region{}, err
	}
	end, err := strconv.ParseUint(to, 16, 64)
	if err != nil {
		return region{}, err
	}
	at, err := strconv.ParseInt(offset, 16, 64)
	if err != nil || end < start {
		return region{}, errors.Join(err, unix.EINVAL)
	}
	return region{start, at, int64(end - start)}, nil
}

// dirty lists the pages of a region that are the process's own: those that the
// guest has written to, of memory that is a private mapping.
func dirty(pagemap io.ReaderAt, r region) ([]span, error) {
	var spans []span
	entries := make([]byte, 64<<10)
	for done := int64(0); done < r.size; {
		n := min(int64(len(entries)), (r.size-done)/pageSize*entrySize)
		if _, err := pagemap.ReadAt(entries[:n], int64(r.address+uint64(done))/pageSize*entrySize); err != nil {
			return nil, fmt.Errorf("pagemap: %w", err)
		}
		for e := entries[:n]; len(e) > 0; e, done = e[entrySize:], done+pageSize {
			if own(binary.NativeEndian.Uint64(e)) {
				spans = extend(spans, r.offset+done)
			}
		}
	}
	return spans, nil
}

// own reports whether a page belongs to the process alone.
func own(entry uint64) bool {
	return entry&pageSwapped != 0 || entry&pagePresent != 0 && entry&pageFile == 0
}

// extend adds the page at an offset behind all spans.
func extend(spans []span, page int64) []span {
	if last := len(spans) - 1; last >= 0 && spans[last].to == page {
		spans[last].to += pageSize
		return spans
	}
	return append(spans, span{page, page + pageSize})
}

// dump writes the spans of r from the process's memory to dst, each where it
// belongs. Pages of zeros are left out: dst is empty there.
func dump(dst *os.File, memory io.ReaderAt, r region, spans []span) error {
	buf := make([]byte, chunkSize)
	for _, s := range spans {
		for s.from < s.to {
			b := buf[:min(int64(len(buf)), s.to-s.from)]
			if _, err := memory.ReadAt(b, int64(r.address)+s.from-r.offset); err != nil {
				return fmt.Errorf("guest memory: %w", err)
			}
			if err := writeSparse(dst, b, s.from); err != nil {
				return err
			}
			s.from += int64(len(b))
		}
	}
	return nil
}

var zeroPage [pageSize]byte

// writeSparse writes what is not zero, in runs of whole pages.
func writeSparse(dst *os.File, b []byte, at int64) error {
	for from := 0; from < len(b); {
		to := from
		for to < len(b) && !bytes.Equal(b[to:to+pageSize], zeroPage[:]) {
			to += pageSize
		}
		if to > from {
			if _, err := dst.WriteAt(b[from:to], at+int64(from)); err != nil {
				return err
			}
		}
		from = to + pageSize
	}
	return nil
}

// copyRest copies what src holds outside of the spans, which are sorted, to dst.
// Where the file system can, both files then share their blocks.
func copyRest(dst, src *os.File, spans []span, size int64) error {
	for at := int64(0); at < size; {
		data, err := dataRange(src, at, size)
		if err != nil || data.from >= size {
			return err
		}
		at = data.to
		for _, part := range data.without(&spans) {
			if err := copyRange(dst, src, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// dataRange returns the next range of f at or after at that is no hole; one that
// begins at size if there is none.
func dataRange(f *os.File, at, size int64) (span, error) {
	from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return span{size, size}, nil
	}
	if err != nil {
		return span{}, &os.PathError{Op: "seek", Path: f.Name(), Err: err}
	}
	to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
	if err != nil {
		return span{}, &os.PathError{Op: "seek", Path: f.Name(), Err: err}
	}
	return span{from, min(to, size)}, nil
}

// without returns s less the spans, and drops those that end before it does.
func (s span) without(spans *[]span) []span {
	var parts []span
	for len(*spans) > 0 && s.from < s.to {
		next := (*spans)[0]
		if next.from >= s.to {
			break
		}
		if next.from > s.from {
			parts = append(parts, span{s.from, next.from})
		}
		s.from = max(s.from, next.to)
		if next.to > s.to {
			break
		}
		*spans = (*spans)[1:]
	}
	if s.from < s.to {
		parts = append(parts, s)
	}
	return parts
}

// copyRange copies one range of src to the same place in dst.
func copyRange(dst, src *os.File, s span) error {
	in, out := s.from, s.from
	for in < s.to {
		n, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(s.to-in), 0)
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			_, err = io.Copy(io.NewOffsetWriter(dst, in), io.NewSectionReader(src, in, s.to-in))
			return err
		}
		if err != nil {
			return &os.PathError{Op: "copy", Path: dst.Name(), Err: err}
		}
		if n == 0 {
			return &os.PathError{Op: "copy", Path: src.Name(), Err: io.ErrUnexpectedEOF}
		}
	}
	return nil
}
