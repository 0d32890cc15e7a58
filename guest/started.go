package guest

import (
	"bytes"
	"errors"
	"io"
)

// ErrStarted is why a line is dead whose agent was started again: it was killed,
// or it crashed, and knows nothing of the calls before.
var ErrStarted = errors.New("the agent was started again")

// Announce tells whoever still waits for an earlier agent's answers on w that
// there is a new one. An agent says it once, before it serves, if a host is
// there. The earlier one may have died in the middle of a frame: the word is said
// at once, and again behind zeros, which mean nothing between frames and fill the
// longest one. A host that begins a connection skips all of it.
func Announce(w io.Writer) error {
	word := startedWord()
	said := append(append(word, make([]byte, headerSize+maxPayload)...), word...)
	_, err := w.Write(said)
	return err
}

func startedWord() []byte { return greeting{version: Protocol}.encode(startedMagic) }

// startedAgain reports whether what arrives next are the words of a new agent,
// maybe behind a part of a header. The beginning of the first word may have been
// taken for the rest of a frame.
func (c *Client) startedAgain() bool {
	b, err := c.line.r.Peek(headerSize)
	if err != nil {
		return false
	}
	return bytes.Contains(append(startedWord(), make([]byte, headerSize)...), b) ||
		c.nextIs(startedMagic)
}

// strayWelcome drops the answer to a hello that was said twice, or by the host
// before.
func (c *Client) strayWelcome() bool {
	return c.nextIs(welcomeMagic)
}

// nextIs drops the greeting that begins with magic within the next header's
// length, and reports whether it was there. Other bytes stay, and it does not wait
// for more of them.
func (c *Client) nextIs(magic [16]byte) bool {
	b, err := c.line.r.Peek(headerSize)
	if err != nil {
		return false
	}
	at := 0
	for at < len(b) && !bytes.HasPrefix(magic[:], b[at:]) {
		at++
	}
	if at == len(b) {
		return false
	}
	if b, err = c.line.r.Peek(at + greetingSize); err != nil {
		return false
	}
	if _, ok := parseGreeting(b[at:], magic); !ok {
		return false
	}
	c.line.r.Discard(at + greetingSize)
	return true
}
