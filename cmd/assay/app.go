package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/term"

	"assay/builtins"
	"assay/drivers/all"
	"assay/engine"
	"assay/images"
	"assay/results"
	"assay/stdlib"
	"assay/vm"
)

// An app is what every command has: streams, the state folder, and the rooms,
// each opened when a command first needs it.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	home   string // see homeDir
	db     string // path of the results; empty: in home
	whole  bool   // the work came to its end, also if an interrupt came before that
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: stderr, home: homeDir()}
}

// homeDir is assay's state folder: $ASSAY_HOME, else the user's data folder.
func homeDir() string {
	if dir := os.Getenv("ASSAY_HOME"); dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "assay")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".local", "share", "assay")
}

func (a *app) dbPath() string {
	if a.db != "" {
		return a.db
	}
	return filepath.Join(a.home, "results.db")
}

func (a *app) store() (*images.Store, error) { return images.Open(filepath.Join(a.home, "images")) }

// openDB opens the results for reading. Before the first run there are none.
func (a *app) openDB() (*results.DB, error) {
	if _, err := os.Stat(a.dbPath()); errors.Is(err, fs.ErrNotExist) {
		return nil, &nothingError{fmt.Sprintf("%s: no results yet; run \"assay run SCRIPT\" first", a.dbPath())}
	}
	return results.OpenReadOnly(a.dbPath())
}

// drivers returns what machines can be made with, the preferred first.
func (a *app) drivers() []vm.Driver { return all.Drivers(a.home, agentFor) }

// env wires the engine to the other rooms.
func (a *app) env() (engine.Env, error) {
	store, err := a.store()
	if err != nil {
		return engine.Env{}, err
	}
	return engine.Env{
		Drivers:  a.drivers(),
		Choose:   a.choose,
		Images:   imageSource{store: store},
		Builtins: builtins.All(),
		Values:   builtins.Values(),
		Stdlib:   stdlib.FS,
		StateDir: a.home,
		Placebos: a.placebos,
	}, nil
}

// find returns the driver of that name; nil if there is none.
func find(drivers []vm.Driver, name string) vm.Driver {
	if i := slices.IndexFunc(drivers, func(d vm.Driver) bool { return d.Name() == name }); i >= 0 {
		return drivers[i]
	}
	return nil
}

// driver returns the driver of that name, or a usage error; for "" the one that
// is chosen for those who name none.
func (a *app) driver(ctx context.Context, name string) (vm.Driver, error) {
	if name == "" {
		var err error
		if name, err = a.choose(ctx); err != nil {
			return nil, err
		}
	}
	return find(a.drivers(), name), a.flagDriver(name)
}

// flagDriver checks the value of --driver where it was typed.
func (a *app) flagDriver(name string) error {
	drivers := a.drivers()
	if find(drivers, name) == nil {
		return unknownDriver("--driver", name, driverNames(drivers))
	}
	return nil
}

func driverNames(drivers []vm.Driver) []string {
	var names []string
	for _, d := range drivers {
		names = append(names, d.Name())
	}
	return names
}

// printJSON writes one indented value to standard output.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// note tells the user something that is not the command's result.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.stderr, clean(fmt.Sprintf(format, args...)))
}

// screen is what is known of a stream: 0 columns means that it is no terminal.
func screen(w io.Writer) (width int, colour bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// clean makes text from a guest or a script harmless for a terminal: of the
// control characters only line feeds and tabs stay as they are.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) || r == ' ' {
			return r
		}
		return '\uFFFD'
	}, s)
}

// oneLine is clean for a place that has one line only, cut at n runes.
func oneLine(s string, n int) string {
	s = strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(s)))
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
