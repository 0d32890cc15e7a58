package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
)

// A root is a folder in which commands find themselves at the top.
type root struct {
	dir   string
	uname string   // what the processor is said to be
	calls []string // the scripts' first lines
}

func (r *root) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	first, _, _ := strings.Cut(argv[len(argv)-1], "\n")
	r.calls = append(r.calls, first)
	if r.uname != "" {
		return fmt.Appendf(nil, "%s\n", r.uname), nil
	}
	// Processes of its own: those of this machine are nobody's business.
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc=" + r.dir + "/proc", "chroot", r.dir}, argv...)...)
	cmd.Stdin = stdin
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said.Bytes())
	}
	return out, err
}

// A putting root takes files in another way than through a command.
type puttingRoot struct{ *root }

func (r puttingRoot) Put(_ context.Context, data []byte, path string, mode fs.FileMode) error {
	r.calls = append(r.calls, "put "+path)
	return os.WriteFile(filepath.Join(r.dir, path), data, mode)
}

// machine returns this machine's own files as a guest's, with a layer above them
// that shows what was changed.
func machine(t *testing.T) (r *root, layer string) {
	t.Helper()
	if os.Geteuid() != 0 {
		drivertest.Skip(t, "tools", "it changes the root, which only root may")
	}
	dir := t.TempDir()
	mount := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			drivertest.Skip(t, "tools", fmt.Sprintf("mount %q: %v: %s", args, err, out))
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", args[len(args)-1]).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		})
	}
	mount("-t", "tmpfs", "tmpfs", dir)
	layer = filepath.Join(dir, "layer")
	for _, name := range []string{"layer", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("-t", "overlay", "-o", "lowerdir=/,upperdir="+layer+",workdir="+filepath.Join(dir, "work"), "overlay", filepath.Join(dir, "root"))
	return &root{dir: filepath.Join(dir, "root")}, layer
}

func agents(arch string) ([]byte, error) { return []byte("#!/bin/sh\necho " + arch + "\n"), nil }

// changed lists what differs in a layer from the machine below it: backups that
// the account tools keep do not count.
func changed(t *testing.T, layer string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(layer, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, layer)
		if d.IsDir() || strings.HasSuffix(name, "-") || strings.HasPrefix(name, "/var/log/") {
			return nil
		}
		got, err1 := os.ReadFile(path)
		want, err2 := os.ReadFile(name)
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
			list = append(list, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestEnterAndLeave puts the agent into this machine's own files, in a layer
// above them, and proves that nothing of it stays.
func TestEnterAndLeave(t *testing.T) {
	for _, way := range []string{"exec", "put"} {
		t.Run(way, func(t *testing.T) {
			r, layer := machine(t)
			g := cli.Guest(r)
			if way == "put" {
				g = puttingRoot{r}
			}
			for range 2 {
				if err := cli.Enter(t.Context(), g, agents); err != nil {
					t.Fatal(err)
				}
			}
			out, err := r.Exec(t.Context(), []string{"sh", "-c", cli.AgentPath + "; id -un tester; cat /etc/sudoers.d/tester; stat -c %a /etc/sudoers.d/tester " + cli.AgentPath}, nil)
			if want := "tester\ntester ALL=(ALL) NOPASSWD: ALL\n440\n755\n"; err != nil || !strings.HasSuffix(string(out), want) || !strings.HasPrefix(string(out), "a") {
				t.Errorf("got %q, %v, want an agent and %q", out, err, want)
			}
			if err := cli.Leave(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			if left := changed(t, layer); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// What was there before is there afterwards: an agent of somebody else's, a user
// of that name.
func TestLeaveKeepsWhatWasThere(t *testing.T) {
	r, _ := machine(t)
	run := func(line string) string {
		t.Helper()
		out, err := r.Exec(t.Context(), []string{"sh", "-c", line}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	run("mkdir /usr/lib/assay && echo theirs >" + cli.AgentPath + "; useradd --create-home tester; echo mine >/home/tester/file")
	before := run("cat /etc/passwd /etc/group")
	if err := cli.Enter(t.Context(), r, agents); err != nil {
		t.Fatal(err)
	}
	if got := run("cat " + cli.AgentPath); !strings.Contains(got, "echo a") {
		t.Errorf("agent: got %q, want ours", got)
	}
	if err := cli.Leave(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := run("cat " + cli.AgentPath + " /home/tester/file; ls /usr/lib/assay"); got != "theirs\nmine\nassay-agent\n" {
		t.Errorf("got %q, want what was there", got)
	}
	if after := run("cat /etc/passwd /etc/group"); after != before {
		t.Errorf("accounts: got %s, want %s", after, before)
	}
}

// A busy root has a process of the test user when a command comes, and tells how
// it ended.
type busyRoot struct {
	*root
	told string
}

func (b *busyRoot) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	script := `chroot --userspec=tester / sleep 1000 & p=$!; while [ "$(stat -c %U /proc/$p)" != tester ]; do sleep 0.1; done; "$@" || exit; wait $p; echo "ended $?"`
	out, err := b.root.Exec(ctx, append([]string{"sh", "-c", script, "sh"}, argv...), stdin)
	b.told = string(out)
	return out, err
}

// Leave ends what the test user runs, without which the account could not go.
func TestLeaveEndsTheUsersProcesses(t *testing.T) {
	r, _ := machine(t)
	if err := cli.Enter(t.Context(), r, agents); err != nil {
		t.Fatal(err)
	}
	b := &busyRoot{root: r}
	if err := cli.Leave(t.Context(), b); err != nil || b.told != "ended 137\n" {
		t.Errorf("got %v and %q, want the process ended by SIGKILL", err, b.told)
	}
	if err := cli.Leave(t.Context(), r); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestProcessorsAreTold(t *testing.T) {
	for uname, want := range map[string]string{"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"} {
		var got string
		cli.Enter(t.Context(), &root{uname: uname}, func(arch string) ([]byte, error) {
			got = arch
			return agents(arch)
		})
		if got != want {
			t.Errorf("%s: got the agent for %q, want %q", uname, got, want)
		}
	}
	r := &root{uname: "riscv64"}
	if err := cli.Enter(t.Context(), r, agents); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "riscv64") {
		t.Errorf("riscv64: got %v, want errors.ErrUnsupported", err)
	}
	if len(r.calls) != 1 {
		t.Errorf("riscv64: got the calls %q, want one", r.calls)
	}
	if err := cli.Enter(t.Context(), &root{uname: "a b c"}, agents); err == nil {
		t.Error("three words: got no error")
	}
}

// An agent that is there is not sent again.
func TestEnterAgainIsShort(t *testing.T) {
	r, _ := machine(t)
	g := puttingRoot{r}
	for range 2 {
		r.calls = nil
		if err := cli.Enter(t.Context(), g, agents); err != nil {
			t.Fatal(err)
		}
	}
	if slices.ContainsFunc(r.calls, func(c string) bool { return strings.HasPrefix(c, "put ") }) {
		t.Errorf("got the calls %q, want no file sent", r.calls)
	}
}
