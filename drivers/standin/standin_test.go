package standin_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"assay/drivers/standin"
	"assay/guest"
)

func TestMain(m *testing.M) { standin.Main(m) }

// TestACallComesThrough proves that arguments, environment, folder and the three
// streams reach the player, and its answer the caller.
func TestACallComesThrough(t *testing.T) {
	standin.New(t, "hyper", func(c *standin.Call) int {
		in, _ := io.ReadAll(c.Stdin)
		c.Printf("%q %s %s %s", c.Args, c.Getenv("WORD"), filepath.Base(c.Dir), in)
		return c.Fail(7, "seven")
	})
	dir := filepath.Join(t.TempDir(), "here")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("hyper", "list", "a b", "")
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), "WORD=x", "WORD=y"), strings.NewReader("input")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if got, want := out.String(), `["list" "a b" ""] y here input`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if complaint.String() != "seven\n" || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("got %q, %v; want seven and exit code 7", complaint.String(), err)
	}
}

// TestAgentThroughExec proves the way that drivers go: the agent is put into the
// guest through the command, and answers through the command.
func TestAgentThroughExec(t *testing.T) {
	h := standin.New(t, "hyper", func(c *standin.Call) int {
		return c.Host.Guest(c.Args[0]).Exec(c, c.Args[1:], standin.ExecOptions{User: "ubuntu"})
	})
	g, err := h.Create("one", standin.Size{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.AddUser("ubuntu", true); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	program, err := standin.AgentProgram(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	put := exec.Command("hyper", "one", "sudo", "sh", "-c", "mkdir -p /usr/lib/assay && cat >/usr/lib/assay/assay-agent && chmod 755 /usr/lib/assay/assay-agent")
	put.Stdin = bytes.NewReader(program)
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command("hyper", "one", "sudo", "env", "A=1", "sh", "-c", "exec /usr/lib/assay/assay-agent stdio")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := guest.Connect(ctx, guest.Stdio(out, in))
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	exit, err := client.Exec(ctx, guest.Command{Shell: "hostname; whoami; exit 3"}, nil, &said, nil)
	if err != nil || exit.Code != 3 || said.String() != "one\nroot\n" {
		t.Errorf("got %q, %+v, %v; want one, root and 3", said.String(), exit, err)
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 255 {
		t.Errorf("the command of a guest whose power was cut: got %v, want exit code 255", err)
	}
	client.Close()
}
