package standin

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// A Call is one run of a stand-in executable, as its player sees it.
type Call struct {
	Host   *Host
	Tool   string   // the executable's name
	Args   []string // without it
	Dir    string   // working folder
	PID    int      // of the stand-in's process
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Ctx    context.Context // ends when the stand-in's process is killed, and with the test

	env []string
}

// Getenv returns a variable of the stand-in's environment, or "".
func (c *Call) Getenv(key string) string {
	value := ""
	for _, pair := range c.env { // the last one counts
		if k, v, _ := strings.Cut(pair, "="); k == key {
			value = v
		}
	}
	return value
}

// Fail says something on the standard error, with a line break, and returns the
// exit code.
func (c *Call) Fail(exit int, format string, args ...any) int {
	fmt.Fprintf(c.Stderr, format+"\n", args...)
	return exit
}

// Printf says something on the standard output and returns 0, the exit code of
// success.
func (c *Call) Printf(format string, args ...any) int {
	fmt.Fprintf(c.Stdout, format, args...)
	return 0
}

// Hang waits until the stand-in is killed, as a command that never ends.
func (c *Call) Hang() int {
	<-c.Ctx.Done()
	return 1
}

// play lets the player answer.
func (c *Call) play(player func(*Call) int) int {
	if player == nil {
		return c.Fail(127, "%s: removed", c.Tool)
	}
	return player(c)
}
