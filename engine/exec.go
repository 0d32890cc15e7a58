package engine

import (
	"context"
	"path/filepath"

	"go.starlark.net/starlark"

	"assay"
)

// A Script is source text to run as one cell, for tests of verbs.
type Script struct {
	Name   string // what positions call it; its folder is the script's folder
	Source []byte
	Image  string
	Driver string
	Params map[string]string
	Load   func(t *starlark.Thread, module string) (globals starlark.StringDict, ok bool, err error) // goes before the engine's own modules
	Events func(Event)
}

// Exec runs a script in this process and returns the cell and the script's own
// error. Everything that it made is gone when Exec returns.
func Exec(ctx context.Context, env Env, script Script) (*assay.Cell, error) {
	dir, err := openRun(env.StateDir, NewRunID())
	if err != nil {
		return nil, err
	}
	defer dir.close()
	path, err := filepath.Abs(script.Name)
	if err != nil {
		return nil, err
	}
	j := job{RunID: filepath.Base(dir.path), Index: 1, Path: path, Given: script.Params, Dir: filepath.Dir(path), Timeout: DefaultTimeout,
		Cell: assay.Cell{ID: script.Name, Script: script.Name, Image: script.Image, Driver: script.Driver, Params: script.Params}}
	r := &run{env: env, read: map[string]bool{}, pool: newPool(env.Host.measured()), emit: script.Events}
	return runSource(ctx, env, j, &seat{run: r, cell: j.Cell.ID}, &script)
}
