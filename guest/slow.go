package guest

import "net"

// Slow is conn, marked as a line that may carry no more than some ten thousand
// bytes a second, as a serial port does. Connect then says less on it: an agent
// that waits for the rest of a frame from a connection long gone must notice
// itself that what comes after a silence is a hello. See HelloSize.
func Slow(conn net.Conn) net.Conn { return slow{conn} }

// IsSlow reports whether conn is marked.
func IsSlow(conn net.Conn) bool {
	_, ok := conn.(slow)
	return ok
}

type slow struct{ net.Conn }

// HelloSize is how many bytes a host's hello has.
const HelloSize = greetingSize

// IsHello reports whether b is a hello, or, if it is shorter, how one begins.
func IsHello(b []byte) bool {
	if len(b) < HelloSize {
		n := min(len(b), len(helloMagic))
		return string(b[:n]) == string(helloMagic[:n])
	}
	_, ok := parseGreeting(b, helloMagic)
	return ok && len(b) == HelloSize
}
