//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// A line speaks the JSON of QEMU's monitor and of its guest agent.
type line struct {
	conn net.Conn
	in   *bufio.Reader
}

// dial connects to a socket of QEMU's.
func dial(ctx context.Context, path string) (*line, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return &line{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

// A reply is one answer, or an event, which has neither.
type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// call has a command executed and puts what it returns into result, unless that
// is nil. Events are passed over.
func (l *line) call(ctx context.Context, name string, args, result any) error {
	deadline, _ := ctx.Deadline()
	l.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { l.conn.SetDeadline(time.Now()) })
	defer stop()
	request := map[string]any{"execute": name}
	if args != nil {
		request["arguments"] = args
	}
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := l.conn.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for {
		answer, err := l.in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if done, err := decode(name, answer, result); done {
			return err
		}
	}
}

// decode reads one line; done says that it was the answer.
func decode(name string, answer []byte, result any) (done bool, err error) {
	var r reply
	if err := json.Unmarshal(answer, &r); err != nil {
		return false, nil // what a line says while it finds its beginning
	}
	switch {
	case r.Error != nil:
		return true, fmt.Errorf("%s: %s", name, r.Error.Desc)
	case r.Return == nil:
		return false, nil
	case result == nil:
		return true, nil
	}
	return true, json.Unmarshal(r.Return, result)
}

// An execStatus is QEMU's guest agent's word on a program that it started.
type execStatus struct {
	Exited   bool `json:"exited"`
	ExitCode int  `json:"exitcode"`
}

// guestTrue is the argument that has QEMU's guest agent run /bin/true.
var guestTrue = map[string]any{"path": "/bin/true", "capture-output": false}

// runTrue has QEMU's guest agent run /bin/true, and asks until that is over. It
// has no way to be told.
func runTrue(call func(name string, args, result any) error) error {
	var started struct {
		PID int `json:"pid"`
	}
	if err := call("guest-exec", guestTrue, &started); err != nil {
		return err
	}
	for {
		var status execStatus
		err := call("guest-exec-status", map[string]any{"pid": started.PID}, &status)
		switch {
		case err != nil:
			return err
		case status.Exited && status.ExitCode != 0:
			return fmt.Errorf("guest-exec: got exit code %d of /bin/true, want 0", status.ExitCode)
		case status.Exited:
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}
