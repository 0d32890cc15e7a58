package capture

import (
	"encoding/binary"
	"errors"
)

// busWriter puts values into D-Bus's form: each aligned to its size.
type busWriter []byte

func (w *busWriter) align(n int) {
	for len(*w)%n != 0 {
		*w = append(*w, 0)
	}
}

func (w *busWriter) number(n uint32) {
	w.align(4)
	*w = binary.LittleEndian.AppendUint32(*w, n)
}

func (w *busWriter) text(s string) {
	w.number(uint32(len(s)))
	*w = append(append(*w, s...), 0)
}

func (w *busWriter) signature(s string) {
	*w = append(append(append(*w, byte(len(s))), s...), 0)
}

// field writes a header's field, (yv); none for an empty value.
func (w *busWriter) field(number byte, kind, value string) {
	if value == "" {
		return
	}
	w.align(8)
	*w = append(*w, number)
	w.signature(kind)
	if kind == "g" {
		w.signature(value)
	} else {
		w.text(value)
	}
}

// array writes the length of what items write, then that. The padding before the
// first item is not counted.
func (w *busWriter) array(alignment int, items func()) {
	w.number(0)
	at := len(*w)
	w.align(alignment)
	begin := len(*w)
	items()
	binary.LittleEndian.PutUint32((*w)[at-4:], uint32(len(*w)-begin))
}

var errBusShort = errors.New("message: a value ends past the message's end")

// busReader takes values off a message. After the first that does not fit, err
// is set and all else is empty.
type busReader struct {
	data []byte
	at   int
	err  error
}

// take returns the next n bytes; nil if there are fewer.
func (r *busReader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.data)-r.at {
		r.err = errBusShort
		return nil
	}
	b := r.data[r.at : r.at+n]
	r.at += n
	return b
}

func (r *busReader) align(n int) { r.take((n - r.at%n) % n) }

func (r *busReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *busReader) number() uint32 {
	r.align(4)
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *busReader) text() string {
	s := r.take(int(r.number()))
	r.take(1)
	return string(s)
}

func (r *busReader) signature() string {
	s := r.take(int(r.byte()))
	r.take(1)
	return string(s)
}

// array returns where the array that begins here ends.
func (r *busReader) array(alignment int) (end int) {
	n := int(r.number())
	r.align(alignment)
	if n > len(r.data)-r.at {
		r.err = errBusShort
	}
	return r.at + n
}
