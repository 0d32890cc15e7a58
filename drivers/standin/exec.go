package standin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"assay/guest"
)

// ExecOptions say how a command runs in a guest.
type ExecOptions struct {
	User string   // login name; empty: root
	Dir  string   // empty: the user's home
	Env  []string // "K=V", beside the login environment
}

// exitLine is how ssh, and so many a tool, exits when the guest is not there.
const exitLine = 255

// Exec runs a command in the guest with the call's streams and returns its exit
// code: 128 and more if a signal ended it, 127 if there is no such program, 255
// with a complaint if the guest is off or its power is cut. A guest that is
// paused lets it wait. The agent's program runs as the agent does ("stdio"), also
// behind sudo, env or sh.
func (g *Guest) Exec(c *Call, argv []string, opt ExecOptions) int {
	cmd := guest.Command{Argv: argv, User: opt.User, Dir: opt.Dir, Env: map[string]string{}}
	if cmd.User == "" {
		cmd.User = "root"
	}
	for _, pair := range opt.Env {
		k, v, _ := strings.Cut(pair, "=")
		cmd.Env[k] = v
	}
	exit, err := g.box.Exec(c.Ctx, cmd, guest.Streams{Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr})
	switch {
	case errors.Is(err, guest.ErrUser):
		return c.Fail(1, "user %s does not exist", cmd.User)
	case errors.Is(err, fs.ErrNotExist):
		return c.Fail(127, "sh: 1: %s: not found", strings.Join(argv, " "))
	case errors.Is(err, fs.ErrPermission):
		return c.Fail(126, "sh: 1: %s: Permission denied", strings.Join(argv, " "))
	case err != nil:
		return c.Fail(exitLine, "%s: %v", g.name, err)
	case !g.Running():
		return c.Fail(exitLine, "%s: connection closed by the guest", g.name)
	case exit.Signal != "":
		return 128 + signalNumber[exit.Signal]
	}
	return exit.Code
}

// signalNumber has the signals that end a fake guest's processes.
var signalNumber = map[string]int{"SIGHUP": 1, "SIGINT": 2, "SIGKILL": 9, "SIGTERM": 15}

// Write makes or replaces a file of root's, and its parents, from outside: the
// guest may be off.
func (g *Guest) Write(path string, data []byte, mode fs.FileMode) error {
	return g.box.Write(path, data, mode)
}

// Read reads a file from outside.
func (g *Guest) Read(path string) ([]byte, error) { return g.box.Read(path) }

// AddUser adds a login user, as an image has one of its own ("ubuntu", "debian").
// admin: it may sudo without a password.
func (g *Guest) AddUser(name string, admin bool) error { return g.box.AddUser(name, admin) }

// Login reports whether a user has that password, for hypervisors whose tools
// log in.
func (g *Guest) Login(name, password string) bool { return g.box.Login(name, password) }

// Listens returns the arguments with which the agent's service runs, such as
// none, or "port /dev/ttyS1", and whether it does.
func (g *Guest) Listens() (args string, ok bool) {
	words, ok := g.box.Listens()
	return strings.Join(words, " "), ok
}

// Serve is a channel that the hypervisor gives: the agent's service answers on
// conn, as soon as it runs, until conn ends, the guest's power is cut or ctx
// ends. It closes conn.
func (g *Guest) Serve(ctx context.Context, conn net.Conn) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.life, cancel)()
	return g.box.Serve(inner, conn)
}

// Listen makes a unix socket at path that leads to the agent's service, one
// connection at a time, as a hypervisor's channel or serial port does. It is
// there until the guest is switched off or deleted, so call it after Start, and
// again after a Restore. A socket that is at path is replaced.
func (g *Guest) Listen(path string) error {
	if !g.Running() {
		return ErrOff
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false) // the path may be the next one's by then
	own, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return err
	}
	power := g.box.Power()
	stop := func() {
		l.Close()
		if now, err := os.Lstat(path); err == nil && os.SameFile(own, now) {
			os.Remove(path)
		}
	}
	context.AfterFunc(power, stop)
	context.AfterFunc(g.life, stop)
	g.work.Go(func() {
		defer l.Close()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = g.Serve(power, conn)
		}
	})
	return nil
}

// Seed puts the seed disk at path into the guest's drive. The next Start boots
// with it, and cloud-init does what it says; "" takes it out.
func (g *Guest) Seed(path string) error {
	if path == "" {
		g.box.Insert(nil)
		return nil
	}
	files, err := readSeed(path)
	if err != nil {
		return fmt.Errorf("seed disk %s: %w", path, err)
	}
	g.box.Insert(files)
	return nil
}

// readSeed reads the files of an ISO 9660 disk that is labelled cidata.
func readSeed(path string) (map[string][]byte, error) {
	disk, err := file.OpenFromPath(path, true)
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	iso, err := iso9660.Read(disk, info.Size(), 0, 2048)
	if err != nil {
		return nil, err
	}
	if label := strings.TrimSpace(iso.Label()); label != "cidata" {
		return nil, fmt.Errorf("got the label %q, want cidata", label)
	}
	list, err := iso.ReadDir(".")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range list {
		if files[e.Name()], err = iso.ReadFile(e.Name()); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return files, nil
}
