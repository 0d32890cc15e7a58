package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"assay/seed"
)

// AgentPath is where the agent's program is in every guest.
const AgentPath = seed.AgentPath

// A Guest is a machine whose hypervisor runs commands in it.
type Guest interface {
	// Exec runs a command as root and returns its standard output when it has
	// ended. stdin nil is empty. An exit code other than 0 is an error.
	Exec(ctx context.Context, argv []string, stdin io.Reader) (stdout []byte, err error)
}

// A Putter is a Guest that takes files in a better way than through the standard
// input of a command. The file's folder exists.
type Putter interface {
	Put(ctx context.Context, data []byte, path string, mode fs.FileMode) error
}

//go:embed entry
var entry embed.FS

// newAgent is where the agent waits for enter.sh.
const newAgent = AgentPath + ".new"

// Enter puts the agent for the guest's processor at AgentPath and makes the test
// user, as a seed disk would; it starts nothing, and nothing else changes. It may
// be repeated: what is there stays. A processor for which there is no agent is an
// error that matches errors.ErrUnsupported.
func Enter(ctx context.Context, g Guest, agents func(arch string) ([]byte, error)) error {
	if err := enter(ctx, g, agents); err != nil {
		return fmt.Errorf("putting the agent into the guest: %w", err)
	}
	return nil
}

func enter(ctx context.Context, g Guest, agents func(arch string) ([]byte, error)) error {
	machine, sum, err := look(ctx, g)
	if err != nil {
		return err
	}
	arch, err := archOf(machine)
	if err != nil {
		return err
	}
	agent, err := agents(arch)
	if err != nil {
		return err
	}
	if want := sha256.Sum256(agent); sum != hex.EncodeToString(want[:]) {
		if err := put(ctx, g, agent); err != nil {
			return err
		}
	}
	_, err = g.Exec(ctx, []string{"sh", "-c", seed.Account() + script("enter.sh")}, nil)
	return err
}

// look makes the agent's folder, and asks for the processor and for the digest of
// the agent that is there, if any.
func look(ctx context.Context, g Guest) (machine, sum string, err error) {
	out, err := g.Exec(ctx, []string{"sh", "-c", script("look.sh")}, nil)
	if err != nil {
		return "", "", err
	}
	words := strings.Fields(string(out))
	switch len(words) {
	case 1:
		return words[0], "", nil
	case 2:
		return words[0], words[1], nil
	}
	return "", "", fmt.Errorf("uname -m: got %.200q, want one word", out)
}

// archOf translates what uname calls a processor to what Go calls it.
func archOf(machine string) (string, error) {
	switch machine {
	case "x86_64", "amd64":
		return "amd64", nil
	case "aarch64", "arm64":
		return "arm64", nil
	}
	return "", fmt.Errorf("got a guest for %.40q, want x86_64 or aarch64: assay has no agent for others: %w", machine, errors.ErrUnsupported)
}

// put brings the agent to newAgent. Where the hypervisor's own way of copying
// fails, such as an sftp that the guest lacks, a command's standard input is the
// other way in.
func put(ctx context.Context, g Guest, agent []byte) error {
	var refused error
	if p, ok := g.(Putter); ok {
		refused = p.Put(ctx, agent, newAgent, 0o755)
		if refused == nil || ctx.Err() != nil {
			return refused
		}
	}
	_, err := g.Exec(ctx, []string{"sh", "-c", "umask 022; cat >" + newAgent}, bytes.NewReader(agent))
	if err != nil {
		return errors.Join(refused, err)
	}
	return nil
}

// Leave takes out what Enter put in, and kills what the test user still runs. The
// line must be closed before. What was there before Enter stays, and a guest that
// was never entered stays as it is.
func Leave(ctx context.Context, g Guest) error {
	if _, err := g.Exec(ctx, []string{"sh", "-c", script("leave.sh")}, nil); err != nil {
		return fmt.Errorf("taking the agent out of the guest: %w", err)
	}
	return nil
}

// script returns a part of the program that runs in guests.
func script(name string) string {
	data, err := entry.ReadFile("entry/" + name)
	if err != nil {
		panic(err)
	}
	return string(data)
}
