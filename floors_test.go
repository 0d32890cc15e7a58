package assay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors lists the rooms from the ground up. Code may import its own room and
// any lower floor; two rooms on one floor do not know each other.
var floors = [][]string{
	{".", "near", "platform", "stdlib", "scripts"},
	{"vm", "guest", "disk", "seed"},
	{"capture", "drivers/internal"},
	{"images", "engine", "grade", "drivers/*"},
	{"builtins", "results", "report", "drivers/standin"},
	{"drivers/all"},
	{"cmd", "bench"},
}

// only names the rooms that may import a package, or anything below it.
var only = map[string][]string{
	"go.starlark.net":             {"engine", "builtins", "grade", "stdlib"},
	"database/sql":                {"results"},
	"github.com/mattn/go-sqlite3": {"results"},
	"mvdan.cc/sh":                 {"drivers/fake"},
}

// room returns the longest listed room that holds dir, and its floor; -1 if
// there is none. A room that is listed by name goes before one with a star.
func room(dir string) (name string, floor int) {
	floor = -1
	star := false
	for i, rooms := range floors {
		for _, listed := range rooms {
			r, ok := expand(listed, dir)
			if !ok || dir != r && !strings.HasPrefix(dir, r+"/") {
				continue
			}
			if len(r) > len(name) || len(r) == len(name) && star {
				name, floor, star = r, i, r != listed
			}
		}
	}
	return name, floor
}

// expand turns the room "drivers/*" into the subfolder that holds dir.
func expand(r, dir string) (string, bool) {
	base, ok := strings.CutSuffix(r, "*")
	if !ok {
		return r, true
	}
	rest, in := strings.CutPrefix(dir, base)
	first, _, _ := strings.Cut(rest, "/")
	return base + first, in
}

// importProblem says why a file in folder dir may not import pkg; "" if it may.
func importProblem(dir, pkg string) string {
	from, lo := room(dir)
	if lo < 0 {
		return "is in no room; add its folder to floors"
	}
	for prefix, rooms := range only {
		if (pkg == prefix || strings.HasPrefix(pkg, prefix+"/")) && !slices.Contains(rooms, from) {
			return "must not import " + pkg + ": only " + strings.Join(rooms, ", ") + " may"
		}
	}
	target, ours := strings.CutPrefix(pkg, "assay")
	if !ours || target != "" && target[0] != '/' {
		return ""
	}
	if target = strings.TrimPrefix(target, "/"); target == "" {
		target = "."
	}
	to, hi := room(target)
	if from == to || hi >= 0 && hi < lo {
		return ""
	}
	return "(" + from + ", floor " + strconv.Itoa(lo) + ") must not import " + pkg + " (floor " + strconv.Itoa(hi) + ")"
}

// goFiles calls fn for every Go file that is not a test. It reads the files
// itself, and not through go list, so that it sees every GOOS and the test cache
// sees every file it depends on.
func goFiles(t *testing.T, mode parser.Mode, fn func(file, dir string, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bin", "out"}, d.Name())) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, mode)
		if err != nil {
			return err
		}
		fn(file, path.Dir(filepath.ToSlash(file)), f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFloors proves that imports go down only.
func TestFloors(t *testing.T) {
	goFiles(t, parser.ImportsOnly, func(file, dir string, f *ast.File) {
		if _, floor := room(dir); floor < 0 {
			t.Errorf("%s is in no room; add its folder to floors", file)
		}
		for _, spec := range f.Imports {
			pkg, _ := strconv.Unquote(spec.Path.Value)
			if p := importProblem(dir, pkg); p != "" {
				t.Errorf("%s %s", file, p)
			}
		}
	})
}

// TestFloorsCatch proves that the rule can fail.
func TestFloorsCatch(t *testing.T) {
	for _, tc := range []struct {
		dir, pkg string
		ok       bool
	}{
		{"engine", "assay/vm", true},
		{"engine", "assay", true},
		{"engine", "assay/engine/enginetest", true},
		{"engine", "assay/results", false}, // up
		{"engine", "assay/images", false},  // sideways
		{"drivers/qemu", "assay/drivers/fake", false},
		{"drivers/qemu/qmp", "assay/drivers/qemu", true},
		{"drivers/qemu", "assay/drivers/internal/cli", true},
		{"drivers/all", "assay/drivers/qemu", true},
		{"cmd/assay", "assay/drivers/all", true},
		{"vm", "assay/cmd/assay", false},
		{"vm", "assay/nowhere", false},
		{"nowhere", "fmt", false},
		{"vm", "fmt", true},
		{"report", "database/sql", false},
		{"results", "github.com/mattn/go-sqlite3", true},
		{"report", "go.starlark.net/starlark", false},
		{"builtins", "go.starlark.net/starlark", true},
		{"vm", "assayer.example/x", true},
	} {
		if p := importProblem(tc.dir, tc.pkg); (p == "") != tc.ok {
			t.Errorf("%s imports %s: got %q, want allowed = %v", tc.dir, tc.pkg, p, tc.ok)
		}
	}
}

// TestNobodyComparesDriverNames proves that no room but a driver branches on
// which hypervisor it has: what differs is asked of the machine, by vm.As.
// Choosing a driver by the user's word is the one exception, in the engine's
// and the command's lookups, which compare with a variable and not a constant.
func TestNobodyComparesDriverNames(t *testing.T) {
	goFiles(t, parser.SkipObjectResolution, func(file, dir string, f *ast.File) {
		if strings.HasPrefix(dir, "drivers/") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if comparesName(n) {
				t.Errorf("%s compares a driver's Name() with a constant; ask the machine with vm.As", file)
			}
			return true
		})
	})
}

func comparesName(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		return (n.Op == token.EQL || n.Op == token.NEQ) &&
			(isNameCall(n.X) && isWord(n.Y) || isNameCall(n.Y) && isWord(n.X))
	case *ast.SwitchStmt:
		return n.Tag != nil && isNameCall(n.Tag)
	}
	return false
}

// driverWords are the names that drivers have or will have.
var driverWords = []string{"qemu", "fake", "libvirt", "multipass", "utm", "virtualbox", "parallels", "vmware", "hyperv", "incus", "lima"}

func isWord(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return false
	}
	s, _ := strconv.Unquote(lit.Value)
	return slices.Contains(driverWords, s)
}

// isNameCall recognises x.Name().
func isNameCall(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) > 0 {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Name"
}

// TestComparesNameCatches proves that the search finds what it looks for.
func TestComparesNameCatches(t *testing.T) {
	for src, want := range map[string]bool{
		`d.Name() == "qemu"`:     true,
		`"fake" != d.Name()`:     true,
		`d.Name() == name`:       false,
		`entry.Name() == "proc"`: false,
		`cell.Driver == "x"`:     false,
	} {
		e, err := parser.ParseExpr(src)
		if err != nil {
			t.Fatal(err)
		}
		if got := comparesName(e); got != want {
			t.Errorf("%s: got %v, want %v", src, got, want)
		}
	}
}
