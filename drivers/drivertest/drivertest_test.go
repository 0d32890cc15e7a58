package drivertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/drivers/fake"
	"assay/guest"
	"assay/vm"
)

// A recorder is a test that remembers instead of failing.
type recorder struct {
	testing.TB
	mu      sync.Mutex
	problem []string
	cleanup []func()
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Cleanup(f func())    { r.cleanup = append(r.cleanup, f) }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem = append(r.problem, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs the named row and returns what it complained of. What cfg leaves
// out is the fake driver's.
func failures(t *testing.T, cfg Config, name string) []string {
	t.Helper()
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("no row %s", name)
	}
	cfg.Image, cfg.RunDir = vm.Image{Name: "debian-12"}, t.TempDir()
	info, err := cfg.Driver.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanup) {
				f()
			}
		}()
		runRow(r, rows[i], cfg, info)
	}()
	<-done
	return r.problem
}

// A liar is a good driver with one fault.
type liar struct {
	vm.Driver
	card   func(*vm.Card)
	info   func(vm.Info) vm.Info
	launch func(vm.Driver, context.Context, vm.Spec) (vm.Machine, error)
	wrap   func(vm.Machine) vm.Machine
	sweep  func(int) int
}

func (l *liar) Probe(ctx context.Context) (vm.Info, error) {
	info, err := l.Driver.Probe(ctx)
	if l.info != nil {
		info = l.info(info)
	}
	return info, err
}

func (l *liar) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	launch := l.Driver.Launch
	if l.launch != nil {
		launch = func(ctx context.Context, spec vm.Spec) (vm.Machine, error) { return l.launch(l.Driver, ctx, spec) }
	}
	m, err := launch(ctx, spec)
	if err == nil && l.wrap != nil {
		m = l.wrap(m)
	}
	return m, err
}

func (l *liar) Sweep(ctx context.Context, owner string) (int, error) {
	n, err := l.Driver.Sweep(ctx, owner)
	if l.sweep != nil {
		n = l.sweep(n)
	}
	return n, err
}

func (l *liar) Card() vm.Card {
	c := l.Driver.(vm.Carder).Card()
	if l.card != nil {
		l.card(&c)
	}
	return c
}

// wrapped is a machine around another, with all its abilities.
type wrapped struct{ vm.Machine }

func (w wrapped) Unwrap() vm.Machine { return w.Machine }

// mute has none of them.
type mute struct{ vm.Machine }

// immortal does not die when it is closed.
type immortal struct{ wrapped }

func (immortal) Close() error { return nil }

// forgetful restores nothing.
type forgetful struct{ wrapped }

func (forgetful) Snapshot(context.Context, string) error { return nil }

func (f forgetful) Restore(ctx context.Context, _ string) error {
	conn, err := f.Dial(ctx) // cuts the line, as a restore does
	if err == nil {
		err = conn.Close()
	}
	return err
}

// amnesiac restores the disk only.
type amnesiac struct{ wrapped }

func (a amnesiac) Snapshot(ctx context.Context, name string) error {
	return a.Machine.(vm.Snapshotter).Snapshot(ctx, name)
}

func (a amnesiac) Restore(ctx context.Context, name string) error {
	if err := a.Machine.(vm.Snapshotter).Restore(ctx, name); err != nil {
		return err
	}
	conn, err := a.Dial(ctx)
	if err != nil {
		return err
	}
	c, err := guest.Connect(ctx, conn)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Exec(ctx, guest.Command{Shell: "rm -r /run/assay-test; pkill sleep", User: "root"}, nil, nil, nil)
	return err
}

// copied makes forks that cannot be told from their parent.
type copied struct{ wrapped }

func (c copied) Fork(ctx context.Context, snapshot string, spec vm.Spec) (vm.Machine, error) {
	m, err := c.Machine.(vm.Forker).Fork(ctx, snapshot, spec)
	return lossy{wrapped{m}}, err
}

// twin forks the same machine again and again.
type twin struct{ wrapped }

func (t twin) Fork(context.Context, string, vm.Spec) (vm.Machine, error) { return t, nil }

// dumb has a console that says nothing.
type dumb struct{ wrapped }

func (dumb) Console() ([]byte, error) { return nil, nil }

// sleepless does not stand still.
type sleepless struct{ wrapped }

func (sleepless) Suspend(context.Context) error { return nil }
func (sleepless) Resume(context.Context) error  { return nil }

// free costs nothing.
type free struct{ wrapped }

func (free) Usage(context.Context) (vm.Usage, error) { return vm.Usage{}, nil }

// stubborn answers on lines that its own dialling should have cut.
type stubborn struct{ wrapped }

func (s stubborn) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := s.Machine.Dial(ctx)
	return keptOpen{conn}, err
}

// keptOpen hides the end of a line.
type keptOpen struct{ net.Conn }

func (k keptOpen) Read(p []byte) (int, error) {
	n, err := k.Conn.Read(p)
	if err == io.EOF || err == io.ErrClosedPipe {
		select {}
	}
	return n, err
}

// lossy loses exit codes on the way.
type lossy struct{ wrapped }

func (l lossy) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := l.Machine.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c, err := guest.Connect(ctx, conn)
	if err != nil {
		return nil, err
	}
	host, agent := net.Pipe()
	go (&guest.Server{System: codeless{c: c}}).Serve(context.WithoutCancel(ctx), agent)
	return host, nil
}

// codeless passes commands on and says that all went well.
type codeless struct {
	guest.System
	c *guest.Client
}

func (s codeless) Info(ctx context.Context) (guest.Info, error) { return s.c.Info(ctx) }

// Renew does not.
func (codeless) Renew(context.Context, guest.Identity) error { return nil }

func (s codeless) Exec(ctx context.Context, cmd guest.Command, st guest.Streams) (guest.Exit, error) {
	_, err := s.c.Exec(ctx, cmd, st.Stdin, st.Stdout, st.Stderr)
	return guest.Exit{}, err
}

// TestLiarsAreCaught proves that the suite can fail: each driver has one fault,
// and the row that is there for it must complain.
func TestLiarsAreCaught(t *testing.T) {
	shared := sync.OnceValue(func() vm.Machine {
		m, err := fake.New().Launch(context.Background(), vm.Spec{Image: vm.Image{Name: "debian-12"}, CPUs: 1, Memory: 1 << 29})
		if err != nil {
			panic(err)
		}
		return m
	})
	wrap := func(f func(vm.Machine) vm.Machine) *liar { return &liar{wrap: f} }
	for name, tc := range map[string]struct {
		liar *liar
		row  string
		want string
	}{
		"claims a screen": {&liar{info: func(i vm.Info) vm.Info {
			i.Capabilities = append(i.Capabilities, vm.CapScreenshot)
			return i
		}}, "HonestCapabilities", "claims"},
		"hides its abilities":  {wrap(func(m vm.Machine) vm.Machine { return mute{m} }), "HonestCapabilities", "has []"},
		"loses exit codes":     {wrap(func(m vm.Machine) vm.Machine { return lossy{wrapped{m}} }), "ExitCode", "want 42"},
		"loses signals":        {wrap(func(m vm.Machine) vm.Machine { return lossy{wrapped{m}} }), "Signal", "SIGKILL"},
		"leaves machines":      {wrap(func(m vm.Machine) vm.Machine { return immortal{wrapped{m}} }), "CloseTwice", "left them behind"},
		"can be dialled after": {wrap(func(m vm.Machine) vm.Machine { return immortal{wrapped{m}} }), "CloseTwice", "can be dialled"},
		"sweeps nothing":       {&liar{sweep: func(int) int { return 0 }}, "SweepFindsOrphans", "want 1"},
		"sweeps strangers":     {&liar{sweep: func(int) int { return 1 }}, "SweepFindsOrphans", "stranger"},
		"has one machine only": {&liar{launch: func(vm.Driver, context.Context, vm.Spec) (vm.Machine, error) { return shared(), nil }}, "TwoMachinesDoNotMeet", "share the id"},
		"takes any size": {&liar{launch: func(d vm.Driver, ctx context.Context, s vm.Spec) (vm.Machine, error) {
			s.CPUs, s.Memory, s.Disk = 1, 1<<29, 0
			return d.Launch(ctx, s)
		}}, "TooLargeIsRefused", "ResourceError"},
		"is deaf to cancelling": {&liar{launch: func(d vm.Driver, ctx context.Context, s vm.Spec) (vm.Machine, error) {
			m, err := d.Launch(context.WithoutCancel(ctx), s)
			if err == nil && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return m, err
		}}, "CancelMidLaunchLeavesNothing", "want 0"},
		"restores nothing":    {wrap(func(m vm.Machine) vm.Machine { return forgetful{wrapped{m}} }), "Restore", "want before and gone"},
		"restores anything":   {wrap(func(m vm.Machine) vm.Machine { return forgetful{wrapped{m}} }), "RestoreOfUnknown", "fs.ErrNotExist"},
		"goes back once":      {wrap(func(m vm.Machine) vm.Machine { return forgetful{wrapped{m}} }), "RestoreRestored", `disk: got "lost", want one`},
		"forgets the memory":  {wrap(func(m vm.Machine) vm.Machine { return amnesiac{wrapped{m}} }), "MemoryGoesOn", "not the snapshot's"},
		"forks copies":        {wrap(func(m vm.Machine) vm.Machine { return copied{wrapped{m}} }), "TwinsDiffer", "cat /etc/machine-id: both twins say"},
		"forks one address":   {wrap(func(m vm.Machine) vm.Machine { return copied{wrapped{m}} }), "TwinsDiffer", "address 2>/dev/null || true): both twins say"},
		"forks one host key":  {wrap(func(m vm.Machine) vm.Machine { return copied{wrapped{m}} }), "TwinsDiffer", "_key.pub 2>/dev/null || true): both twins say"},
		"has one child":       {wrap(func(m vm.Machine) vm.Machine { return twin{wrapped{m}} }), "ForkOfAFork", ""},
		"forks itself":        {wrap(func(m vm.Machine) vm.Machine { return twin{wrapped{m}} }), "ForkTwice", ""},
		"forks die with it":   {wrap(func(m vm.Machine) vm.Machine { return twin{wrapped{m}} }), "ForkOutlivesParent", ""},
		"has a silent screen": {wrap(func(m vm.Machine) vm.Machine { return dumb{wrapped{m}} }), "ConsoleShowsBoot", "Linux"},
		"cannot stand still":  {wrap(func(m vm.Machine) vm.Machine { return sleepless{wrapped{m}} }), "SuspendResume", "answers"},
		"costs nothing":       {wrap(func(m vm.Machine) vm.Machine { return free{wrapped{m}} }), "UsageTells", "above 0"},
		"says too much":       {&liar{card: func(c *vm.Card) { c.Capabilities = c.Capabilities[1:] }}, "CardTellsTheTruth", "which the card lacks"},
		"gives no advice":     {&liar{card: func(c *vm.Card) { c.Instead = nil }}, "CardTellsTheTruth", "what to do instead"},
		"was met by nobody":   {&liar{card: func(c *vm.Card) { c.Met = nil }}, "CardTellsTheTruth", "add that to Met"},
		"isolates by magic":   {&liar{card: func(c *vm.Card) { c.Isolation = "magic" }}, "CardTellsTheTruth", "want host, guest or none"},
		"keeps old lines":     {wrap(func(m vm.Machine) vm.Machine { return stubborn{wrapped{m}} }), "LineRedial", "outlives"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.liar.Driver = fake.New()
			got := failures(t, Config{Driver: tc.liar, Timeout: 3 * time.Second, Ring: Real}, tc.row)
			if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), tc.want) {
				t.Errorf("%s says %q, want a complaint with %q", tc.row, got, tc.want)
			}
		})
	}
}

// TestHonestDriver proves that the rows complain of nothing when there is nothing.
func TestHonestDriver(t *testing.T) {
	info, err := fake.New().Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		cfg := Config{Driver: fake.New(), Timeout: time.Minute, Ring: Memory}
		if r.missing(cfg, info) != "" {
			continue
		}
		if got := failures(t, cfg, r.name); len(got) > 0 {
			t.Errorf("%s: %q", r.name, got)
		}
	}
}

// TestRingClaimsNoMore proves that no suite on a stand-in passes for one on the
// real hypervisor.
func TestRingClaimsNoMore(t *testing.T) {
	for _, ring := range []Ring{Real, StandIn, Memory} {
		t.Setenv(StandInEnv, "")
		if err := ring.check(); err != nil {
			t.Errorf("%s, nothing stands in: got %v", ring, err)
		}
		t.Setenv(StandInEnv, "prlctl")
		if err := ring.check(); (err != nil) != (ring == Real) {
			t.Errorf("%s, with a stand-in: got %v", ring, err)
		}
	}
}

// TestMustRun proves that ASSAY_MUST_RUN turns a skip into a failure.
func TestMustRun(t *testing.T) {
	for list, want := range map[string]string{"": "skip", "other": "skip", "qemu": "fatal", "other,qemu": "fatal"} {
		t.Setenv("ASSAY_MUST_RUN", list)
		b := &verdictTB{TB: t}
		done := make(chan struct{})
		go func() { defer close(done); Skip(b, "qemu", "not here") }()
		<-done
		if b.verdict != want {
			t.Errorf("ASSAY_MUST_RUN=%s: got %s, want %s", list, b.verdict, want)
		}
	}
}

type verdictTB struct {
	testing.TB
	verdict string
}

func (v *verdictTB) Helper() {}
func (v *verdictTB) Fatalf(string, ...any) {
	v.verdict = "fatal"
	runtime.Goexit()
}
func (v *verdictTB) Skip(...any) {
	v.verdict = "skip"
	runtime.Goexit()
}
