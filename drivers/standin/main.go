package standin

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// exitLost is how a stand-in exits when the test process does not answer.
const exitLost = 250

// addressFile lies beside a stand-in executable and says where its test process
// listens.
const addressFile = ".standin"

// The streams of a call. Each has a connection of its own; the control's, which
// comes last, carries the exit code and ends with the stand-in.
const (
	streamStdin   = "stdin"
	streamStdout  = "stdout"
	streamStderr  = "stderr"
	streamControl = "control"
)

// opening is what a stand-in says first on each of its connections.
type opening struct {
	ID     string // of the call
	Stream string
	Tool   string   // control only, as what follows
	Args   []string // without the tool's own name
	Env    []string
	Dir    string
	PID    int
}

// closing is what the test process says last on the control connection.
type closing struct{ Exit int }

// Main is the whole body of a TestMain: a process that was started as a
// stand-in hands its call to the test process and exits as it is told; any other
// runs the tests.
func Main(m *testing.M) {
	Play()
	os.Exit(m.Run())
}

// Play is for a TestMain that does more than Main: a process that was started as
// a stand-in does not come back from it.
func Play() {
	if code, is := standIn(); is {
		os.Exit(code)
	}
}

// standIn plays a call, if this process is a stand-in: there is an address
// beside the name that it was started by.
func standIn() (code int, is bool) {
	self := os.Args[0]
	if !strings.ContainsRune(self, filepath.Separator) {
		if found, err := exec.LookPath(self); err == nil {
			self = found
		}
	}
	address, err := os.ReadFile(filepath.Join(filepath.Dir(self), addressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false
	}
	if err == nil {
		code, err = forward(string(address), filepath.Base(self))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "stand-in for %s: %v\n", filepath.Base(self), err)
		return exitLost, true
	}
	return code, true
}

// forward hands this process's call to the test process, and returns its answer.
func forward(address, tool string) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	o := opening{ID: fmt.Sprint(os.Getpid()), Stream: streamStdin}
	conns := map[string]*net.UnixConn{}
	for _, stream := range []string{streamStdin, streamStdout, streamStderr, streamControl} {
		o.Stream = stream
		if stream == streamControl {
			o.Tool, o.Args, o.Env, o.Dir, o.PID = tool, os.Args[1:], os.Environ(), dir, os.Getpid()
		}
		if conns[stream], err = dial(address, o); err != nil {
			return 0, err
		}
	}
	go func() {
		io.Copy(conns[streamStdin], os.Stdin)
		conns[streamStdin].CloseWrite()
	}()
	var out sync.WaitGroup
	out.Go(func() { io.Copy(os.Stdout, conns[streamStdout]) })
	out.Go(func() { io.Copy(os.Stderr, conns[streamStderr]) })
	var end closing
	if err := json.NewDecoder(conns[streamControl]).Decode(&end); err != nil {
		return 0, fmt.Errorf("the test process is gone: %w", err)
	}
	out.Wait()
	return end.Exit, nil
}

// dial opens one of a call's connections.
func dial(address string, o opening) (*net.UnixConn, error) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", address)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return conn.(*net.UnixConn), err
}

// maxOpening bounds an opening: an environment and arguments fit in less.
const maxOpening = 8 << 20

// readOpening reads what dial wrote, and not a byte more.
func readOpening(r io.Reader) (o opening, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return o, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxOpening {
		return o, fmt.Errorf("got an opening of %d bytes, want at most %d", n, maxOpening)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return o, err
	}
	return o, json.Unmarshal(data, &o)
}
