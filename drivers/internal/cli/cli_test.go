package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

func TestMain(m *testing.M) { standin.Main(m) }

// patterns are a table such as a driver has.
var patterns = []cli.Pattern{
	{Text: "Cannot Connect", Kind: cli.ErrDaemon, Fix: "systemctl start hyperd"},
	{Text: "does not exist", Kind: fs.ErrNotExist},
	{Text: "ERROR:", Kind: cli.ErrState, Stdout: true, Always: true},
}

// answering returns a tool that says what it is told: its first arguments are the
// exit code, the standard output and the standard error.
func answering(t *testing.T) *cli.Tool {
	t.Helper()
	standin.New(t, "hyper", func(c *standin.Call) int {
		exit := 0
		_, _ = fmt.Sscan(c.Args[0], &exit)
		c.Printf("%s", c.Args[1])
		fmt.Fprint(c.Stderr, c.Args[2])
		return exit
	})
	return &cli.Tool{Driver: "hyp", Name: "hyper", Errors: patterns, Fix: "apt install hyper"}
}

// TestWhatACallMeans proves how exit code and texts become errors.
func TestWhatACallMeans(t *testing.T) {
	tool := answering(t)
	for name, tc := range map[string]struct {
		exit, out, said string
		kind            error  // nil: success
		text            string // of the error
	}{
		"success":               {"0", "fine\n", "warning: old", nil, ""},
		"a text is no error":    {"0", "", "cannot connect", nil, ""},
		"an exit code is":       {"3", "", "", cli.ErrFailed, "hyper 3: exit code 3"},
		"case does not matter":  {"1", "", "cannot CONNECT\n", cli.ErrDaemon, "hyper 1: its service does not run: cannot CONNECT; systemctl start hyperd"},
		"a kind of the stdlib":  {"2", "", "vm x does not exist", fs.ErrNotExist, "vm x does not exist"},
		"a lie":                 {"0", "error: broken", "", cli.ErrState, "broken"},
		"only where it may be":  {"1", "does not exist", "other", cli.ErrFailed, "exit code 1: other"},
		"output, if silent":     {"1", "all I say", "", cli.ErrFailed, "all I say"},
		"control characters go": {"1", "", "a\x1b[31mb\x07\n\n  c\x9b", cli.ErrFailed, "exit code 1: a[31mb c"},
		"long texts are cut":    {"1", "", strings.Repeat("x ", 50_000) + "end", cli.ErrFailed, "x x end"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tool.Run(t.Context(), tc.exit, tc.out, tc.said)
			if tc.kind == nil {
				if err != nil || r.Text() != strings.TrimSpace(tc.out) {
					t.Errorf("got %q, %v; want %q", r.Text(), err, tc.out)
				}
				return
			}
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) || len(err.Error()) > 1000 {
				t.Errorf("got %.400v, want %v with %q", err, tc.kind, tc.text)
			}
		})
	}
}

// TestHygiene proves how a call is made: in C's language, with nothing on its
// standard input, the tool's own arguments first, in the folder that is asked for.
func TestHygiene(t *testing.T) {
	standin.New(t, "hyper", func(c *standin.Call) int {
		in, _ := io.ReadAll(c.Stdin)
		return c.Printf("%q %s %s %s %s %q %s", c.Args, c.Getenv("LC_ALL"), c.Getenv("NO_COLOR"), c.Getenv("A"), c.Getenv("B"), in, filepath.Base(c.Dir))
	})
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tool := cli.Tool{Name: "hyper", Args: []string{"-c", "uri"}, Env: []string{"A=tool", "B=tool"}}
	r, err := tool.Do(t.Context(), cli.Call{Args: []string{"list"}, Env: []string{"B=call"}, Dir: dir})
	if want := `["-c" "uri" "list"] C 1 tool call "" dir`; err != nil || r.Text() != want {
		t.Errorf("got %s, %v; want %s", r.Text(), err, want)
	}
	var out strings.Builder
	if _, err := tool.Do(t.Context(), cli.Call{Stdin: strings.NewReader("in"), Stdout: &out}); err != nil || !strings.Contains(out.String(), `"in"`) {
		t.Errorf("got %s, %v; want the input", out.String(), err)
	}
}

// TestOutputIsBounded proves that a tool that never stops talking is an error.
func TestOutputIsBounded(t *testing.T) {
	tool := cli.Tool{Name: "sh"}
	r, err := tool.Run(t.Context(), "-c", "exec cat /dev/zero")
	if err == nil || !strings.Contains(err.Error(), "more than 64 MiB") || len(r.Stdout) > 64<<20 {
		t.Errorf("got %d bytes, %v; want an error", len(r.Stdout), err)
	}
}

// TestWhereATool is proves the order: the environment, PATH, the places.
func TestWhereAToolIs(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"path", "place"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, sub, "hyper-v.sh"), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tool := cli.Tool{Driver: "hyp", Name: "hyper-v.sh", Places: []string{dir, filepath.Join(dir, "place", "hyper-v.sh")}, Fix: "apt install hyper"}
	is := func(want string) {
		t.Helper()
		if got, err := tool.Path(); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
	t.Setenv("PATH", filepath.Join(dir, "path"))
	t.Setenv("ASSAY_HYPER_V_SH", "/else/where")
	is("/else/where")
	t.Setenv("ASSAY_HYPER_V_SH", "")
	is(filepath.Join(dir, "path", "hyper-v.sh"))
	t.Setenv("PATH", "")
	is(filepath.Join(dir, "place", "hyper-v.sh"))

	tool.Places = nil
	_, err := tool.Run(t.Context(), "list")
	if !errors.Is(err, cli.ErrNotInstalled) {
		t.Errorf("got %v, want ErrNotInstalled", err)
	}
	unavailable, ok := errors.AsType[*vm.UnavailableError](tool.Unavailable(err))
	if !ok || unavailable.Fix != "apt install hyper" || !unavailable.Absent || unavailable.Error() != `hyp: hyper-v.sh is not installed; fix: apt install hyper` {
		t.Errorf("got %+v, %v", unavailable, unavailable)
	}
}

// TestUnavailable proves that a probe's error says what is wrong and what to do.
func TestUnavailable(t *testing.T) {
	tool := answering(t)
	for said, want := range map[string]string{
		"cannot connect to it": `hyp: hyper: its service does not run; fix: systemctl start hyperd`,
		"broken":               "hyp: hyper 1: exit code 1: broken",
	} {
		_, err := tool.Run(t.Context(), "1", "", said)
		if got := tool.Unavailable(err); got == nil || got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	plain := errors.New("plain")
	if got := tool.Unavailable(plain); got != plain {
		t.Errorf("got %v, want another error as it is", got)
	}
}

// TestLimits proves that a call ends at its own limit and with its context, and
// what the error says then.
func TestLimits(t *testing.T) {
	standin.New(t, "hyper", (*standin.Call).Hang)
	tool := cli.Tool{Name: "hyper", Limit: 50 * time.Millisecond}
	_, err := tool.Run(t.Context(), "list")
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "hyper list: no end after 50ms" {
		t.Errorf("the tool's limit: got %v", err)
	}
	_, err = tool.Do(t.Context(), cli.Call{Limit: 60 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "60ms") {
		t.Errorf("the call's limit: got %v", err)
	}
	why := errors.New("the user went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := tool.Do(ctx, cli.Call{Limit: time.Minute}); !errors.Is(err, why) {
		t.Errorf("the context's end: got %v, want %v", err, why)
	}
}

// TestSweep proves that only the owner's machines go, that what is gone already
// does not count, and that one error does not stop the rest.
func TestSweep(t *testing.T) {
	name := func(owner, n string) string { return cli.Name(owner, n) }
	listed := []string{name("me", "a"), name("me", "broken"), name("me", "gone"), name("me", "z"), name("you", "a"), "users-own", "assay-x"}
	var destroyed []string
	n, err := cli.Sweep(t.Context(), "me",
		func(context.Context) ([]string, error) { return listed, nil },
		func(_ context.Context, m string) error {
			destroyed = append(destroyed, m)
			switch m {
			case name("me", "broken"):
				return errors.New("stuck")
			case name("me", "gone"):
				return fs.ErrNotExist
			}
			return nil
		})
	if n != 2 || err == nil || !strings.Contains(err.Error(), "broken: stuck") || len(destroyed) != 4 {
		t.Errorf("got %d, %v, destroyed %q; want 2, the stuck one's error, and only mine touched", n, err, destroyed)
	}
	if got := name("me", strings.Repeat("x", 40)); len(got) > 57 || got != name("me", strings.Repeat("x", 40)) || strings.ContainsAny(got, "_. ") {
		t.Errorf("got the name %q", got)
	}
	if cli.Owned("me", name("me2", "a")) || !cli.Owned("me", name("me", "a")) || cli.Owned("", "anything") {
		t.Errorf("owners are mixed up")
	}
}

// TestUntil proves that it asks until it is done, and that its end says why.
func TestUntil(t *testing.T) {
	asked := 0
	err := cli.Until(t.Context(), "start", func(context.Context) (bool, error, error) {
		asked++
		return asked == 3, nil, nil
	})
	if err != nil || asked != 3 {
		t.Errorf("got %v after %d times, want nil after 3", err, asked)
	}
	stuck := errors.New("stuck")
	if err := cli.Until(t.Context(), "start", func(context.Context) (bool, error, error) { return false, nil, stuck }); err != stuck {
		t.Errorf("got %v, want the error itself", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	reason := errors.New("no address")
	err = cli.Until(ctx, "wait for the address", func(context.Context) (bool, error, error) { return false, reason, nil })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, reason) || !strings.HasPrefix(err.Error(), "wait for the address: ") {
		t.Errorf("got %v, want what, the deadline and the last reason", err)
	}
}
