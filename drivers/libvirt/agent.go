package libvirt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"assay/drivers/internal/cli"
)

// An inside is the way into a guest through QEMU's own agent there, which runs
// commands and writes files, but carries no stream. It is a cli.Guest and a
// cli.Putter.
type inside struct {
	site *site
	name string // of the domain
}

const (
	agentMax   = "30"    // seconds that QEMU's agent may take for one answer
	agentChunk = 90_000  // bytes in one request: an argument holds 128 KiB, and this grows by a third
	agentSaid  = 1 << 20 // bytes of a command's output
)

// ask has the agent do one thing. result may be nil.
func (g inside) ask(ctx context.Context, what string, args, result any) error {
	request, err := json.Marshal(map[string]any{"execute": what, "arguments": args})
	if err != nil {
		return err
	}
	r, err := g.site.virsh.Run(ctx, "qemu-agent-command", g.name, "--timeout", agentMax, string(request))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	answer := struct{ Return any }{result}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return fmt.Errorf("%s: got %.200q: %w", what, r.Stdout, err)
	}
	return nil
}

// none is what a request without arguments has.
type none struct{}

// ping reports whether the agent answers.
func (g inside) ping(ctx context.Context) error { return g.ask(ctx, "guest-ping", none{}, nil) }

// ended is what the agent says of a command.
type ended struct {
	Exited   bool   `json:"exited"`
	ExitCode int    `json:"exitcode"`
	Signal   int    `json:"signal"`
	Out      []byte `json:"out-data"`
	Err      []byte `json:"err-data"`
}

// Exec runs a command as root. What it reads goes with the request.
func (g inside) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	args := map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}
	if stdin != nil {
		data, err := io.ReadAll(io.LimitReader(stdin, agentChunk+1))
		if err != nil {
			return nil, err
		}
		if len(data) > agentChunk {
			return nil, fmt.Errorf("%s: got more than %d bytes of input, which QEMU's agent cannot take", argv[0], agentChunk)
		}
		args["input-data"] = base64.StdEncoding.EncodeToString(data)
	}
	var started struct {
		PID int64 `json:"pid"`
	}
	if err := g.ask(ctx, "guest-exec", args, &started); err != nil {
		return nil, err
	}
	var e ended
	err := cli.Until(ctx, argv[0], func(ctx context.Context) (bool, error, error) {
		err := g.ask(ctx, "guest-exec-status", map[string]any{"pid": started.PID}, &e)
		return e.Exited, nil, err
	})
	switch {
	case err != nil:
		return nil, err
	case len(e.Out) > agentSaid:
		return nil, fmt.Errorf("%s: got %d bytes of output", argv[0], len(e.Out))
	case e.ExitCode != 0 || e.Signal != 0:
		return e.Out, fmt.Errorf("%s in the guest: exit code %d, signal %d: %s", argv[0], e.ExitCode, e.Signal, oneLine(e.Err))
	}
	return e.Out, nil
}

// Start runs a command as root and does not wait for it.
func (g inside) Start(ctx context.Context, argv ...string) error {
	return g.ask(ctx, "guest-exec", map[string]any{"path": argv[0], "arg": argv[1:]}, nil)
}

// Put writes a file, piece by piece.
func (g inside) Put(ctx context.Context, data []byte, path string, mode fs.FileMode) error {
	var handle int64
	if err := g.ask(ctx, "guest-file-open", map[string]any{"path": path, "mode": "wb"}, &handle); err != nil {
		return err
	}
	err := g.write(ctx, handle, data)
	err = errors.Join(err, g.ask(ctx, "guest-file-close", map[string]any{"handle": handle}, nil))
	if err != nil {
		return err
	}
	_, err = g.Exec(ctx, []string{"chmod", fmt.Sprintf("%o", mode.Perm()), path}, nil)
	return err
}

func (g inside) write(ctx context.Context, handle int64, data []byte) error {
	for len(data) > 0 {
		part := data[:min(len(data), agentChunk)]
		var wrote struct {
			Count int `json:"count"`
		}
		err := g.ask(ctx, "guest-file-write", map[string]any{"handle": handle, "buf-b64": part}, &wrote)
		if err != nil {
			return err
		}
		if wrote.Count <= 0 || wrote.Count > len(part) {
			return fmt.Errorf("guest-file-write: got a count of %d for %d bytes", wrote.Count, len(part))
		}
		data = data[wrote.Count:]
	}
	return nil
}

// stopAgents ends every process of the program $1, and waits until they are gone.
const stopAgents = `for try in 1 2 3 4 5 6 7 8 9 10; do
	left=
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe" 2>/dev/null)" = "$1" ] && left=1 && kill "${p#/proc/}" 2>/dev/null
	done
	[ -n "$left" ] || exit 0
	sleep 0.2
done
exit 1`

// stop ends the agent of ours.
func (g inside) stop(ctx context.Context) error {
	_, err := g.Exec(ctx, []string{"sh", "-c", stopAgents, "sh", cli.AgentPath}, nil)
	return err
}

// oneLine writes what a guest said so that it fits into an error.
func oneLine(said []byte) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(said[:min(len(said), 300)]), "?")), " ")
}
