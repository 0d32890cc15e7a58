package disk

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxInflated bounds the memory for compressed clusters of one file.
const maxInflated = 8 << 20

// readCompressed fills p from offset in of the compressed cluster that entry names.
func (q *qcow2) readCompressed(p []byte, entry, in int64) error {
	c, err := q.inflate(entry)
	if err != nil {
		return err
	}
	copy(p, c[in:])
	return nil
}

func (q *qcow2) inflate(entry int64) ([]byte, error) {
	q.mu.Lock()
	c := q.inflated[entry]
	q.mu.Unlock()
	if c != nil {
		return c, nil
	}
	packed, err := q.packed(uint64(entry))
	if err != nil {
		return nil, err
	}
	c = make([]byte, 1<<q.bits)
	if err := q.unpack(c, packed); err != nil {
		return nil, q.fail("compressed cluster %#x: %w", entry, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.inflated)<<q.bits >= maxInflated {
		clear(q.inflated)
	}
	q.inflated[entry] = c
	return c, nil
}

// packed returns the bytes of a compressed cluster. An entry holds its offset
// and how many further sectors of 512 bytes it touches.
func (q *qcow2) packed(entry uint64) ([]byte, error) {
	shift := 62 - (q.bits - 8)
	at := int64(entry & (1<<shift - 1))
	sectors := int64(entry>>shift)&(1<<(q.bits-8)-1) + 1
	n := min(sectors*512-at%512, q.fileSize-at)
	if n <= 0 {
		return nil, q.fail("compressed cluster at %d lies behind the file's %d bytes", at, q.fileSize)
	}
	b := make([]byte, n)
	return b, readZero(q.f, b, at)
}

// unpack fills c. What follows the stream in packed is another cluster's.
func (q *qcow2) unpack(c, packed []byte) error {
	r := io.Reader(flate.NewReader(bytes.NewReader(packed)))
	if q.zstd {
		z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	_, err := io.ReadFull(r, c)
	return err
}
