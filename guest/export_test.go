package guest

import (
	"context"
	"io"
)

// Hello returns a hello as a host says it.
func Hello() []byte { return newGreeting().encode(helloMagic) }

// Welcome returns an agent's answer to a hello.
func Welcome(hello []byte) []byte { return WelcomeOf(hello, Protocol) }

// WelcomeOf is Welcome from an agent of another version.
func WelcomeOf(hello []byte, version uint32) []byte {
	g, _ := parseGreeting(hello, helloMagic)
	g.version = version
	return g.encode(welcomeMagic)
}

// Unpack is what Pull does with what it gets.
func Unpack(r io.Reader, dest string, bound PullOptions) error {
	u := unpacker{ctx: context.Background(), bound: bound, inside: true}
	_, err := u.unpack(r, dest, "")
	return err
}
