package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"

	"assay"
	"assay/guest"
)

// kernel is what uname says.
const kernel = "6.1.0-fake-amd64"

// A system is the software side of a fake guest: disk, processes, randomness.
// It is what a snapshot copies. Its methods are safe for concurrent use.
type system struct {
	disk   *disk
	procs  *processes
	os     assay.OS
	cpus   int
	memory int64
	life   context.Context // ends with the machine's power
	booted time.Time

	computer  *Computer         // that it runs in; nil in the driver's machines
	agent     []byte            // see Hardware
	seedFiles map[string][]byte // on the seed disk in the drive

	mu      sync.Mutex
	seed    [32]byte // of the next random bytes
	service *service // the agent's; nil while it does not run
}

var _ guest.System = (*system)(nil)

// clone returns a twin that lives as long as life: same files, same processes,
// and the same randomness to come.
func (g *system) clone(life context.Context) *system {
	g.mu.Lock()
	seed, service := g.seed, g.service
	g.mu.Unlock()
	return &system{
		disk: g.disk.clone(), procs: g.procs.clone(), os: g.os, cpus: g.cpus,
		memory: g.memory, life: life, booted: g.booted, seed: seed,
		computer: g.computer, agent: g.agent, seedFiles: g.seedFiles, service: service,
	}
}

// random returns the next n bytes of the guest's randomness. Twins draw the
// same, until Renew.
func (g *system) random(n int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(g.seed[:], i))
		out = append(out, h[:]...)
	}
	g.seed = sha256.Sum256(append(g.seed[:], "next"...))
	return out[:n]
}

// A user is one line of /etc/passwd.
type user struct {
	name string
	uid  int
	home string
}

// user looks a login name up; "" is the test user, or root where there is none.
func (g *system) user(name string) (user, bool) {
	if name == "" {
		if u, ok := g.user("tester"); ok {
			return u, true
		}
		name = "root"
	}
	passwd, _ := g.disk.read("/etc/passwd", 0)
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && (f[0] == name || f[2] == name) {
			uid, err := strconv.Atoi(f[2])
			return user{f[0], uid, f[5]}, err == nil
		}
	}
	return user{}, false
}

// login is the name of a user id, or its digits.
func (g *system) login(uid int) string {
	if u, ok := g.user(strconv.Itoa(uid)); ok {
		return u.name
	}
	return strconv.Itoa(uid)
}

func (g *system) hostname() string {
	name, _ := g.disk.read("/etc/hostname", 0)
	return strings.TrimSpace(string(name))
}

// open opens a file for reading, device or not.
func (g *system) open(p string, uid int) (io.Reader, error) {
	switch path.Clean(p) {
	case "/dev/null":
		return new(bytes.Reader), nil
	case "/dev/zero":
		return zeros{}, nil
	case "/dev/urandom", "/dev/random":
		return &randomness{g}, nil
	case "/proc/sys/kernel/random/uuid":
		b := g.random(16)
		return strings.NewReader(fmt.Sprintf("%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])), nil
	}
	data, err := g.disk.read(p, uid)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(data), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type randomness struct{ g *system }

func (r *randomness) Read(p []byte) (int, error) { return copy(p, r.g.random(len(p))), nil }

// Info implements guest.System.
func (g *system) Info(context.Context) (guest.Info, error) {
	u, _ := g.user("")
	id, _ := g.disk.read("/proc/sys/kernel/random/boot_id", 0)
	return guest.Info{
		OS: g.os, Hostname: g.hostname(), User: u.name, Home: u.home, CPUs: g.cpus, Memory: g.memory,
		BootID: strings.TrimSpace(string(id)), Uptime: time.Since(g.booted).Seconds(), Agent: assay.Version, Cgroups: true, Expires: true,
		HostKeys: []string{"ed25519"},
	}, nil
}

// Exec implements guest.System.
func (g *system) Exec(ctx context.Context, cmd guest.Command, st guest.Streams) (guest.Exit, error) {
	u, ok := g.user(cmd.User)
	if !ok {
		return guest.Exit{}, fmt.Errorf("exec: user %q: %w", cmd.User, guest.ErrUser)
	}
	argv := cmd.Argv
	if cmd.Shell != "" {
		argv = []string{"sh", "-c", cmd.Shell}
	}
	if len(argv) == 0 {
		return guest.Exit{}, errors.New("exec: got no command, want argv or a line of shell")
	}
	dir, err := g.workDir(cmd.Dir, u)
	if err != nil {
		return guest.Exit{}, err
	}
	stdout, stderr := &gate{w: st.Stdout}, &gate{w: st.Stderr}
	defer stdout.shut()
	defer stderr.shut()
	if cmd.TTY != nil {
		stderr = stdout
	}
	stdin := st.Stdin
	if stdin == nil {
		stdin = new(bytes.Reader)
	}
	c := &call{
		shell: &shell{g: g, user: u}, args: argv, dir: dir, env: environment(u, dir, cmd.Env),
		stdin: stdin, stdout: stdout, stderr: stderr,
	}
	if _, _, code := c.lookup(argv[0]); code != 0 {
		return guest.Exit{}, fmt.Errorf("exec: %s: %w", argv[0], map[int]error{127: fs.ErrNotExist, 126: fs.ErrPermission}[code])
	}
	return g.supervise(ctx, c, cmd.Timeout, st.Expired)
}

// supervise runs a command as a process group of its own, ends the group at the
// deadline or when expired closes, and says what it left running.
func (g *system) supervise(ctx context.Context, c *call, limit time.Duration, expired <-chan struct{}) (guest.Exit, error) {
	start := time.Now()
	life, pid, err := g.procs.start(g.life, c.user.name, 1, 0, c.args)
	if err != nil {
		return guest.Exit{}, err
	}
	c.ctx, c.group, c.pid = life, pid, pid
	done := make(chan int, 1)
	go func() { done <- c.do() }()
	var deadline <-chan time.Time
	if limit > 0 {
		deadline = time.After(limit)
	}
	exit := guest.Exit{}
	select {
	case exit.Code = <-done:
	case <-life.Done():
		exit.Code = -1
	case <-deadline:
		exit.TimedOut = true
	case <-expired:
		exit.TimedOut = true
	case <-ctx.Done():
	}
	if exit.TimedOut || ctx.Err() != nil {
		g.procs.kill("SIGKILL", func(p *process) bool { return p.group == pid })
	}
	if k := (killed{}); errors.As(context.Cause(life), &k) {
		exit.Code, exit.Signal = -1, k.signal
	}
	g.procs.end(pid)
	exit.Orphans = g.procs.list(pid)
	exit.Orphans = exit.Orphans[:min(len(exit.Orphans), 100)]
	exit.Duration = time.Since(start)
	exit.CPU, exit.PeakMemory = exit.Duration/10, 1<<20
	return exit, context.Cause(ctx)
}

// workDir finds the folder that a command starts in.
func (g *system) workDir(dir string, u user) (string, error) {
	if dir == "" {
		dir = u.home
	}
	dir, err := g.expand(dir, u)
	if err != nil {
		return "", err
	}
	st, err := g.disk.stat(dir, true)
	if err == nil && !st.IsDir() {
		err = pathError("chdir", dir, syscall.ENOTDIR)
	}
	if err != nil {
		return "", fmt.Errorf("exec: %w", err)
	}
	return dir, nil
}

// environment is a user's login environment with more over it.
func environment(u user, dir string, more map[string]string) expand.Environ {
	pairs := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + u.home, "USER=" + u.name, "LOGNAME=" + u.name,
		"SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb", "PWD=" + dir,
		"UID=" + strconv.Itoa(u.uid), "EUID=" + strconv.Itoa(u.uid), "GID=" + strconv.Itoa(u.uid),
	}
	for name, value := range more {
		pairs = append(pairs, name+"="+value)
	}
	return expand.ListEnviron(pairs...)
}

// expand makes a path absolute: ~ and ~user are homes, and a relative path
// begins in u's home.
func (g *system) expand(p string, u user) (string, error) {
	rest, tilde := strings.CutPrefix(p, "~")
	if !tilde {
		return abs(u.home, p), nil
	}
	name, rest, _ := strings.Cut(rest, "/")
	if name != "" {
		var ok bool
		if u, ok = g.user(name); !ok {
			return "", fmt.Errorf("%s: user %q: %w", p, name, fs.ErrNotExist)
		}
	}
	if rest == "" && !strings.HasSuffix(p, "/") {
		return u.home, nil
	}
	return u.home + "/" + rest, nil
}

// asUser expands a path for the test user, who need not exist.
func (g *system) asUser(p string) (string, error) {
	u, _ := g.user("")
	return g.expand(p, u)
}

// ReadFile implements guest.System.
func (g *system) ReadFile(_ context.Context, p string, limit int64) ([]byte, error) {
	p, err := g.asUser(p)
	if err != nil {
		return nil, err
	}
	r, err := g.open(p, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read: %s: more than %d bytes", p, limit)
	}
	return data, err
}

// WriteFile implements guest.System.
func (g *system) WriteFile(_ context.Context, p string, data []byte, mode fs.FileMode, name string) error {
	u, ok := g.user(name)
	if !ok {
		return fmt.Errorf("write: user %q: %w", name, fs.ErrNotExist)
	}
	p, err := g.expand(p, u)
	if err != nil {
		return err
	}
	if err := g.makeParents(p, u); err != nil {
		return err
	}
	return g.place(p, data, mode, u)
}

// place writes a file of u's, with the agent's powers.
func (g *system) place(p string, data []byte, mode fs.FileMode, u user) error {
	if err := g.disk.write(p, data, mode, 0); err != nil {
		return err
	}
	return errors.Join(g.disk.chmod(p, mode, 0), g.disk.chown(p, u.uid, 0))
}

// makeParents makes what is missing above p; it belongs to u.
func (g *system) makeParents(p string, u user) error {
	var missing []string
	for dir := path.Dir(path.Clean(p)); ; dir = path.Dir(dir) {
		if _, err := g.disk.stat(dir, true); err == nil {
			break
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := errors.Join(g.disk.mkdir(dir, 0o755, 0), g.disk.chown(dir, u.uid, 0)); err != nil {
			return err
		}
	}
	return nil
}

// Wait implements guest.System. Nothing listens in a fake guest and no unit is
// ever active, so those two wait for the end.
func (g *system) Wait(ctx context.Context, cond guest.Condition) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond.File != "" {
			p, err := g.asUser(cond.File)
			if err != nil {
				return err
			}
			if _, err := g.disk.stat(p, true); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Renew implements guest.System.
func (g *system) Renew(_ context.Context, id guest.Identity) error {
	g.mu.Lock()
	g.seed = sha256.Sum256(append(g.seed[:], id.Entropy...))
	g.mu.Unlock()
	var errs []error
	if id.Hostname != "" {
		errs = append(errs, g.put("/etc/hostname", id.Hostname+"\n", 0o644))
	}
	if id.MachineID != "" {
		errs = append(errs, g.put("/etc/machine-id", id.MachineID+"\n", 0o444))
	}
	if id.MAC != "" {
		errs = append(errs, g.put("/sys/class/net/eth0/address", id.MAC+"\n", 0o444))
	}
	for _, key := range id.HostKeys {
		file := "/etc/ssh/ssh_host_" + key.Type + "_key"
		errs = append(errs, g.put(file, string(key.Private), 0o600), g.put(file+".pub", string(key.Public), 0o644))
	}
	return errors.Join(errs...)
}
