package incus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// The types of instances, as the API calls them.
const (
	typeContainer = "container"
	typeVM        = "virtual-machine"
)

// A server is a daemon that answers.
type server struct {
	tool    *cli.Tool
	lxd     bool
	version string // Info.Version
	kind    string // of the machines that it will make
	why     string // it makes no virtual machines
	cpus    int    // of its host
	memory  int64
}

func (s *server) container() bool { return s.kind == typeContainer }

// server returns the server that answered last, if any, else that of ask.
func (d *driver) server(ctx context.Context) (*server, error) {
	d.mu.Lock()
	s := d.known
	d.mu.Unlock()
	if s != nil {
		return s, nil
	}
	return d.ask(ctx)
}

// ask asks the tools for their servers, and returns the first that answers. If
// none does the error is about the one that is installed.
func (d *driver) ask(ctx context.Context) (*server, error) {
	var first error
	for _, tool := range d.tools {
		s, err := open(ctx, tool)
		if err == nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.known = s
			return s, nil
		}
		if first == nil || errors.Is(first, cli.ErrNotInstalled) && !errors.Is(err, cli.ErrNotInstalled) {
			first = err
		}
	}
	return nil, first
}

// open asks a server what it is. An error that says that it cannot be used
// matches its cause and is a *vm.UnavailableError.
func open(ctx context.Context, tool *cli.Tool) (*server, error) {
	s := &server{tool: tool}
	var about struct {
		Auth        string `json:"auth"`
		Environment struct {
			Server  string `json:"server"`
			Version string `json:"server_version"`
			Driver  string `json:"driver"` // lxc, or lxc | qemu
		} `json:"environment"`
	}
	if err := s.get(ctx, "/1.0", &about); err != nil {
		return nil, unavailable(tool, err)
	}
	env := about.Environment
	if about.Auth != "trusted" {
		return nil, unavailable(tool, &cli.Error{Tool: tool.Name, Args: []string{"query"}, Kind: os.ErrPermission,
			Said: fmt.Sprintf("the server calls this user %q, want trusted", about.Auth)})
	}
	s.lxd = env.Server == "lxd"
	if err := s.choose(env.Driver); err != nil {
		return nil, err
	}
	var host struct {
		CPU    struct{ Total int }
		Memory struct{ Total int64 }
	}
	if err := s.get(ctx, "/1.0/resources", &host); err != nil {
		return nil, unavailable(tool, err)
	}
	s.cpus, s.memory = host.CPU.Total, host.Memory.Total
	s.version = fmt.Sprintf("%s %s, %ss", map[bool]string{false: "Incus", true: "LXD"}[s.lxd], env.Version, strings.ReplaceAll(s.kind, "-", " "))
	return s, nil
}

// unavailable keeps the cause of a *vm.UnavailableError.
func unavailable(tool *cli.Tool, err error) error {
	if u := tool.Unavailable(err); u != err {
		return &unusable{u, err}
	}
	return err
}

// unusable is a *vm.UnavailableError with its cause.
type unusable struct{ unavailable, cause error }

func (e *unusable) Error() string   { return e.unavailable.Error() }
func (e *unusable) Unwrap() []error { return []error{e.unavailable, e.cause} }

// choose decides what machines are. drivers are those of the server.
func (s *server) choose(drivers string) error {
	able := strings.Contains(drivers, "qemu")
	switch want := os.Getenv(typeEnv); {
	case want == typeVM && !able:
		return &vm.UnavailableError{Driver: driverName, Reason: "this server runs no virtual machines, which $" + typeEnv + " asks for", Fix: "unset " + typeEnv}
	case want == typeContainer:
		s.kind, s.why = typeContainer, "$"+typeEnv+" asks for it"
	case want == "" || want == typeVM:
		s.kind, s.why = typeVM, ""
		if !able {
			s.kind, s.why = typeContainer, "this server runs no virtual machines"
		}
	default:
		return fmt.Errorf("$%s: got %q, want %s or %s", typeEnv, want, typeContainer, typeVM)
	}
	return nil
}

// get asks the API for path. Its answer must be what v is.
func (s *server) get(ctx context.Context, path string, v any) error {
	r, err := s.tool.Run(ctx, "query", path)
	if err != nil {
		return err
	}
	return decode(path, r.Stdout, v)
}

// decode reads an answer of the API. One that is none is no success, whatever
// the exit code.
func decode(path string, answer []byte, v any) error {
	if len(bytes.TrimSpace(answer)) == 0 {
		return fmt.Errorf("%s: got no answer", path)
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("%s: got %.100q: %w", path, answer, err)
	}
	return nil
}

// Bounds of what the server does.
const (
	changeLimit = 10 * time.Minute // of one operation: an image may come from far away
	cancelLimit = 30 * time.Second // of words about another operation
)

// change has the API do something to an instance, or make it, and waits for its
// end, also if ctx ends before: then it asks the server to give up, so that
// nothing comes into being after the caller has tidied up.
func (s *server) change(ctx context.Context, name, method, path string, body any) error {
	args := []string{"query", "--wait", "-X", method}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		args = append(args, "-d", string(data))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	life := context.WithoutCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := s.tool.Do(life, cli.Call{Args: append(args, path), Limit: changeLimit})
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.giveUp(life, name)
	if err := <-done; err == nil {
		return context.Cause(ctx)
	} else {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
}

// giveUp asks the server to cancel what it does with an instance. What cannot
// be cancelled ends by itself.
func (s *server) giveUp(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, cancelLimit)
	defer cancel()
	ops, _ := s.operations(ctx, name) // a server that does not answer cancels nothing
	for _, op := range ops {
		if op.MayCancel {
			_, _ = s.tool.Run(ctx, "query", "-X", "DELETE", "/1.0/operations/"+url.PathEscape(op.ID))
		}
	}
}

// An operation is something that the server is at.
type operation struct {
	ID        string              `json:"id"`
	Class     string              `json:"class"` // task; websocket is an exec
	Resources map[string][]string `json:"resources"`
	MayCancel bool                `json:"may_cancel"`
}

// operations lists what the server does with an instance, but for execs.
func (s *server) operations(ctx context.Context, name string) ([]operation, error) {
	var all map[string][]operation // by state
	if err := s.get(ctx, "/1.0/operations?recursion=1", &all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Concat(all["running"], all["pending"]), func(op operation) bool {
		return op.Class != "task" || !slices.Contains(op.Resources["instances"], instancePath(name))
	}), nil
}
