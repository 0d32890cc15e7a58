package guest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// Protocol is the version of the language on the line. Both ends must speak the
// same one.
const Protocol = 1

// A frame is a header (payload length, kind, call; little endian) and a payload.
// Nine zero bytes are a frame that means nothing: see Connect.
const (
	headerSize = 4 + 1 + 4
	maxPayload = 128 << 10
	// chunkSize is the payload of a full data frame. It is smaller than the bound
	// so that one call's frame never holds up another's for long.
	chunkSize = 64 << 10
)

// The kinds of frame.
const (
	frameNothing byte = iota
	frameOpen         // to the agent: JSON of an opening
	frameData         // both ways: input; output
	frameError        // to the host: output of the second kind
	frameEnd          // to the agent: the input is complete
	frameCredit       // both ways: uint32, so much more may be sent
	frameCancel       // to the agent: end the call
	frameSize         // to the agent: JSON of a Size
	frameResult       // to the host: JSON of an outcome; the call is over
	frameExpire       // to the agent: the command's time is up
	frameKinds
)

// header is a frame's first bytes, decoded.
type header struct {
	size int
	kind byte
	call uint32
}

// parseHeader refuses what no peer of ours ever sends. The first bytes of a
// hello are refused at any offset, and so are they after any number of zeros.
func parseHeader(b []byte) (header, error) {
	h := header{kind: b[4], call: binary.LittleEndian.Uint32(b[5:])}
	n := binary.LittleEndian.Uint32(b)
	if n > maxPayload || h.kind >= frameKinds || h.kind == frameNothing && (n != 0 || h.call != 0) {
		return h, fmt.Errorf("got % x, want a frame of at most %d bytes", b[:headerSize], maxPayload)
	}
	h.size = int(n)
	return h, nil
}

// buffers holds buffers of a header and a chunk.
var buffers = sync.Pool{New: func() any { b := make([]byte, headerSize+chunkSize); return &b }}

// newBuffer returns a buffer with room for a header and n bytes.
func newBuffer(n int) []byte {
	if n > chunkSize || n < chunkSize/8 {
		return make([]byte, headerSize+n)
	}
	return (*buffers.Get().(*[]byte))[:headerSize+n]
}

// recycle takes back a buffer that newBuffer made; nobody may use it any more.
func recycle(b []byte) {
	if b = b[:cap(b)]; len(b) == headerSize+chunkSize {
		buffers.Put(&b)
	}
}

// seal writes the header of a frame that fills b.
func seal(b []byte, kind byte, call uint32) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-headerSize))
	b[4] = kind
	binary.LittleEndian.PutUint32(b[5:], call)
	return b
}

// frame returns a whole frame.
func frame(kind byte, call uint32, payload []byte) []byte {
	b := newBuffer(len(payload))
	copy(b[headerSize:], payload)
	return seal(b, kind, call)
}

// A greeting is how either end begins: the host's hello, the agent's welcome.
// Its form is the same in every version of the protocol.
type greeting struct {
	version uint32
	nonce   [16]byte // the host's choice, which the agent repeats
}

// The words that begin a greeting. Their high bits are set so that no part of
// one reads as a header.
var (
	helloMagic   = [16]byte{0xa5, 0xff, 0xf1, 0xe2, 0xd3, 0xc4, 0xb5, 0xa6, 0x97, 0x88, 0xf9, 0xea, 0xdb, 0xcc, 0xbd, 0x8e}
	welcomeMagic = [16]byte{0xa6, 0xff, 0xe2, 0xf1, 0xc4, 0xd3, 0xa6, 0xb5, 0x88, 0x97, 0xea, 0xf9, 0xcc, 0xdb, 0x8e, 0xbd}
	startedMagic = [16]byte{0xa7, 0xff, 0xd1, 0xc2, 0xf3, 0xe4, 0x95, 0x86, 0xb7, 0xa8, 0xd9, 0xca, 0xfb, 0xec, 0x9d, 0x8e}
)

const greetingSize = 16 + 4 + 16 + 4

// newGreeting returns a hello that nobody sent before.
func newGreeting() greeting {
	g := greeting{version: Protocol}
	rand.Read(g.nonce[:])
	return g
}

func (g greeting) encode(magic [16]byte) []byte {
	b := binary.LittleEndian.AppendUint32(magic[:], g.version)
	b = append(b, g.nonce[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// parseGreeting reads a greeting from the beginning of b.
func parseGreeting(b []byte, magic [16]byte) (g greeting, ok bool) {
	if len(b) < greetingSize || [16]byte(b[:16]) != magic {
		return g, false
	}
	g.version = binary.LittleEndian.Uint32(b[16:])
	copy(g.nonce[:], b[20:])
	sum := binary.LittleEndian.Uint32(b[greetingSize-4:])
	return g, sum == crc32.ChecksumIEEE(b[:greetingSize-4])
}

// seek drops bytes until it has read a greeting that match accepts.
func seek(r *bufio.Reader, magic [16]byte, match func(greeting) bool) (greeting, error) {
	for {
		b, err := r.Peek(greetingSize)
		if err != nil {
			return greeting{}, err
		}
		if g, ok := parseGreeting(b, magic); ok && match(g) {
			_, err = r.Discard(greetingSize)
			return g, err
		}
		b, _ = r.Peek(r.Buffered())
		n := len(b)
		if i := bytes.IndexByte(b[1:], magic[0]); i >= 0 {
			n = 1 + i
		}
		r.Discard(n)
	}
}

// nextHeader reads a header. Bytes that are none stay unread, for seek.
func nextHeader(r *bufio.Reader) (header, error) {
	for {
		b, err := r.Peek(headerSize)
		if err != nil {
			return header{}, err
		}
		h, err := parseHeader(b)
		if err != nil {
			return header{}, &garbageError{err}
		}
		r.Discard(headerSize)
		if h.kind != frameNothing {
			return h, nil
		}
	}
}

// nextPayload reads the payload of h into a buffer, behind room for a header.
func nextPayload(r *bufio.Reader, h header) ([]byte, error) {
	b := newBuffer(h.size)
	if _, err := io.ReadFull(r, b[headerSize:]); err != nil {
		return nil, err
	}
	return b, nil
}

// garbageError is what a peer sent that is no frame, or a frame out of turn.
type garbageError struct{ err error }

func (e *garbageError) Error() string { return "garbage: " + e.err.Error() }
func (e *garbageError) Unwrap() error { return e.err }
