package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// embedded holds the agent if "make build" put it there. The folder always holds
// its README, so that a fresh clone compiles.
//
//go:embed agent
var embedded embed.FS

// agent returns the program that goes into images.
func agent() ([]byte, error) { return agentFor(runtime.GOARCH) }

// agentFor returns the program for guests of an architecture: the one inside this
// executable, else the one beside it.
func agentFor(arch string) ([]byte, error) {
	name := "assay-agent-" + arch
	data, err := embedded.ReadFile("agent/" + name)
	if err == nil {
		return data, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	data, err = os.ReadFile(filepath.Join(filepath.Dir(self), name))
	if errors.Is(err, fs.ErrNotExist) && arch == runtime.GOARCH {
		data, err = os.ReadFile(filepath.Join(filepath.Dir(self), "assay-agent"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("agent: this assay was built without the program for %s guests; run \"make build\"", arch)
	}
	return data, err
}
