package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// unpack undoes the compression of an object's payload, as far as maxObject.
func unpack(data []byte, flags byte) ([]byte, error) {
	switch flags & (objectXZ | objectLZ4 | objectZSTD) {
	case 0:
		return data, nil
	case objectZSTD:
		return unpackZSTD(data)
	case objectLZ4:
		return unpackLZ4(data)
	}
	return nil, fmt.Errorf("compressed in a way that is not read: flags %#x: %w", flags, errors.ErrUnsupported)
}

func unpackZSTD(data []byte) ([]byte, error) {
	z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	out, err := io.ReadAll(io.LimitReader(z, maxObject))
	if len(out) > 0 && (errors.Is(err, io.ErrUnexpectedEOF) || len(data) >= maxObject) {
		return out, nil // data was cut
	}
	return out, err
}

var errLZ4 = errors.New("damaged LZ4 block")

// unpackLZ4 reads a block as journald writes it: the length of the whole, then
// sequences of literals and of a copy of what came before.
func unpackLZ4(data []byte) ([]byte, error) {
	if len(data) < 8 {
		return nil, errLZ4
	}
	limit := int(min(le64(data), maxObject))
	out := make([]byte, 0, limit)
	in := data[8:]
	for len(in) > 0 && len(out) < limit {
		token := in[0]
		n, rest, ok := lz4Length(in[1:], int(token>>4))
		if !ok {
			return out, errLZ4
		}
		n = min(n, limit-len(out))
		if n > len(rest) {
			return append(out, rest...), nil // data was cut
		}
		out, in = append(out, rest[:n]...), rest[n:]
		if len(in) < 2 || len(out) >= limit {
			break // the last sequence has no copy
		}
		back := int(in[0]) | int(in[1])<<8
		if n, in, ok = lz4Length(in[2:], int(token&15)); !ok || back == 0 || back > len(out) {
			return out, errLZ4
		}
		for range min(n+4, limit-len(out)) {
			out = append(out, out[len(out)-back])
		}
	}
	return out, nil
}

// lz4Length reads what follows a length of 15: more of it, until a byte is not 255.
func lz4Length(in []byte, n int) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, in, true
	}
	for i, b := range in {
		if n += int(b); b != 255 {
			return n, in[i+1:], n <= 1<<30
		}
	}
	return 0, nil, false
}
