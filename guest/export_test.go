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

// FileTick is how old a change of the accounts must be to be relied on.
const FileTick = fileTick

// Remember returns a memory of accounts that rests on two files and is filled by
// read, whose answer is an account's home.
func Remember(passwd, group string, read func() string) func(name string) (home string) {
	m := accountMemory{paths: [2]string{passwd, group}}
	return func(name string) string {
		a, _ := m.find(name, func() (*account, error) { return &account{home: read()}, nil })
		return a.home
	}
}

// Frame returns a frame of output of a call.
func Frame(call uint32, payload []byte) []byte { return frame(frameData, call, payload) }
