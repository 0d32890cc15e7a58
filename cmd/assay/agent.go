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

// agentName is the agent's file for guests of this host's architecture.
const agentName = "assay-agent-" + runtime.GOARCH

// agent returns the program that goes into images: the one inside this
// executable, else the one beside it.
func agent() ([]byte, error) {
	data, err := embedded.ReadFile("agent/" + agentName)
	if err == nil {
		return data, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	data, err = os.ReadFile(filepath.Join(filepath.Dir(self), "assay-agent"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("agent: this assay was built without the program for guests; run \"make build\"")
	}
	return data, err
}
