package results

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"assay"
)

// What is not ours is refused with words and stays as it is, byte for byte.
func TestOpenRefuses(t *testing.T) {
	good := closedFile(t)
	changed := func(at int, b ...byte) []byte {
		text := bytes.Clone(good)
		copy(text[at:], b)
		return text
	}
	later := binary.BigEndian.AppendUint32(nil, latestVersion+6)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"newer":             {changed(60, later...), fmt.Sprintf("made by a newer assay (schema %d, this one knows %d); upgrade assay or use --db", latestVersion+6, latestVersion)},
		"newer and strange": {append(changed(60, later...)[:100], bytes.Repeat([]byte{0xA5}, 9000)...), fmt.Sprintf("made by a newer assay (schema %d", latestVersion+6)}, // before SQLite looks
		"empty":             {nil, "not a database; use --db with another file, or move it away"},
		"text":              {bytes.Repeat([]byte("# notes\n"), 100), "not a database"},
		"truncated":         {good[:len(good)/2], "damaged: "},
		"short":             {good[:50], "not a database"},
		"garbage":           {changed(4096*3, bytes.Repeat([]byte{0xA5}, 4096*2)...), "damaged"},
		"stranger":          {changed(68, 0, 0, 0, 0), "a SQLite file that assay did not make"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "results.db")
			must(t, os.WriteFile(path, c.text, 0o644))
			for _, open := range []func(string) (*DB, error){Open, OpenReadOnly} {
				db, err := open(path)
				if err == nil {
					db.Close()
				}
				expect(t, err, "results: "+path+": "+c.want)
				if err != nil && strings.Contains(err.Error(), "\n") {
					t.Errorf("the error has several lines: %v", err)
				}
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.text) {
				t.Errorf("the file changed: %d bytes, were %d: %v", len(now), len(c.text), err)
			}
		})
	}
}

// closedFile returns the bytes of a database that holds a run.
func closedFile(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := Open(path)
	must(t, err)
	record(t, db, runOf("r1", day, one("a.star", "12", "s", assay.Pass, 90, day)))
	must(t, db.Close())
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

// A newer schema that is still in the log is refused too.
func TestOpenRefusesNewerInLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db := openAt(t, path)
	_, err := db.write.Exec("PRAGMA user_version = 9") // stays in the log while db is open
	must(t, err)
	expect(t, second(Open(path)), "made by a newer assay (schema 9")
}

func TestOpenMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	expect(t, second(OpenReadOnly(path)), `no results yet; "assay run SCRIPT" makes them`)
	if _, err := os.Lstat(path); err == nil {
		t.Error("reading made a file")
	}
}

// A path may hold what a URI takes for its own.
func TestOpenOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?mode=ro&c#d%41ä;'")
	db := openAt(t, filepath.Join(dir, "re?sults.db"))
	record(t, db, runOf("r1", day))
	if _, err := os.Stat(filepath.Join(dir, "re?sults.db")); err != nil {
		t.Error(err)
	}
}

// Where nothing can be written, reading works and writing says why not.
func TestReadOnlyFolder(t *testing.T) {
	dir := mount(t, "size=4m")
	path := filepath.Join(dir, "results.db")
	db, err := Open(path)
	must(t, err)
	record(t, db, runOf("r1", day, one("a.star", "12", "s", assay.Pass, 90, day)))
	must(t, db.Close())
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	ro, err := OpenReadOnly(path)
	must(t, err)
	defer ro.Close()
	_, err = ro.Run("r1")
	must(t, err)
	expect(t, second(Open(filepath.Join(dir, "other.db"))), "cannot be written")
	rw, err := Open(path)
	if err == nil {
		err = rw.StartRun(assay.Run{ID: "r2", Started: day})
		rw.Close()
	}
	expect(t, err, "cannot be")
}

// A full disk is said in words, and what was stored before is intact.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(mount(t, "size=1m"), "results.db")
	db := openAt(t, path)
	fillUp(t, db)
}

// So is a database that may not grow, where nothing can be mounted.
func TestDatabaseFull(t *testing.T) {
	db := openTemp(t)
	_, err := db.write.Exec("PRAGMA max_page_count = 150")
	must(t, err)
	fillUp(t, db)
}

// fillUp records cells until there is no room.
func fillUp(t *testing.T, db *DB) {
	t.Helper()
	must(t, db.StartRun(assay.Run{ID: "r1", Started: day}))
	var err error
	kept := 0
	for i := 0; err == nil && i < 100; i++ {
		c := one(fmt.Sprintf("s%02d.star", i), "12", "s", assay.Pass, 90, day)
		c.Steps = []assay.Step{{Seq: 1, Verb: "exec", Exec: &assay.Exec{Stdout: strings.Repeat("x", assay.OutputLimit)}}}
		if err = db.FinishCell("r1", c); err == nil {
			kept++
		}
	}
	expect(t, err, "the disk is full")
	expect(t, err, "the cells that were stored are kept")
	run, err := db.Run("r1")
	must(t, err)
	if len(run.Cells) != kept || kept == 0 {
		t.Errorf("%d cells, %d were stored", len(run.Cells), kept)
	}
	for _, c := range run.Cells {
		if c.Verdict != assay.Pass || len(c.Steps) != 1 || len(c.Steps[0].Exec.Stdout) != assay.OutputLimit {
			t.Errorf("cell %s is not whole", c.ID)
		}
	}
}

// mount mounts a small file system of its own for a test.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if strings.Contains(os.Getenv("ASSAY_MUST_RUN"), "mount") {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mount: %v; only root can mount", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// Several processes may create one database and write into it at once.
func TestManyProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "results.db")
	if os.Getenv("RESULTS_CHILD") != "" {
		writeAsChild(t)
		return
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			cmd := exec.Command(os.Args[0], "-test.run=^TestManyProcesses$")
			cmd.Env = append(os.Environ(), "RESULTS_CHILD="+fmt.Sprint(i), "RESULTS_DB="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, out)
			}
		}()
	}
	wg.Wait()
	db := openAt(t, path)
	runs, err := db.Runs(0, RunFilter{})
	must(t, err)
	for _, r := range runs {
		if r.Verdict != assay.Pass || r.Cells != 25 {
			t.Errorf("run %s: %s with %d cells", r.ID, r.Verdict, r.Cells)
		}
	}
	if len(runs) != 4 {
		t.Errorf("%d runs, wanted 4", len(runs))
	}
}

// writeAsChild is one of the processes: two goroutines that write one run.
func writeAsChild(t *testing.T) {
	db := openAt(t, os.Getenv("RESULTS_DB"))
	run := runOf("run-"+os.Getenv("RESULTS_CHILD"), day)
	run.Verdict = assay.Pass
	must(t, db.StartRun(run))
	var wg sync.WaitGroup
	for half := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := half; i < 25; i += 2 {
				c := one(fmt.Sprintf("s%d.star", i), "12", "s", assay.Pass, 90, day)
				if err := db.StartCell(run.ID, c); err != nil {
					t.Error(err)
				}
				if err := db.FinishCell(run.ID, c); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	must(t, db.FinishRun(run))
}

// A process that is killed while it writes loses what it was writing and
// nothing else; its run can be closed and the database goes on.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	if os.Getenv("RESULTS_VICTIM") != "" {
		writeForever(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "RESULTS_VICTIM=1", "RESULTS_DB="+path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	told := bufio.NewScanner(out)
	for n := 0; n < 20 && told.Scan(); n++ { // it has finished twenty cells and goes on
	}
	must(t, cmd.Process.Kill())
	last := ""
	for told.Scan() {
		last = told.Text()
	}
	cmd.Wait()

	db := openAt(t, path)
	must(t, db.Interrupted("victim"))
	run, err := db.Run("victim")
	must(t, err)
	finished := map[string]bool{}
	for _, c := range run.Cells {
		if whole := c.Verdict == assay.Pass && len(c.Diffs) == 1 && len(c.Diffs[0].Changes) == 60; whole {
			finished[c.Script] = true
		} else if c.Failure == nil || c.Failure.Kind != assay.InterruptedFailure || len(c.Diffs) > 0 {
			t.Errorf("cell %s is neither whole nor interrupted: %s", c.ID, c.Verdict)
		}
	}
	if run.Verdict != assay.Error || len(finished) < 20 || last != "" && !finished[last] {
		t.Errorf("run %s with %d whole cells; %q was finished", run.Verdict, len(finished), last)
	}
	record(t, db, runOf("next", day))
}

// writeForever is the process that is killed. It tells of each finished cell.
func writeForever(t *testing.T) {
	db := openAt(t, os.Getenv("RESULTS_DB"))
	must(t, db.StartRun(assay.Run{ID: "victim", Started: day}))
	for i := range 100_000 {
		c := busy(fmt.Sprintf("s%d.star", i), "12", "s", day)
		c.Verdict = assay.Pass
		must(t, db.StartCell("victim", c))
		must(t, db.FinishCell("victim", c))
		fmt.Println(c.Script)
	}
}

// The connections are set up as the notes measured them.
func TestSettings(t *testing.T) {
	db := openTemp(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "1", "foreign_keys": "1", "busy_timeout": "20000"} {
		var got string
		must(t, db.write.QueryRow("PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, wanted %s", pragma, got, want)
		}
	}
	_, err := db.read.Exec("INSERT INTO word(text) VALUES('x')")
	expect(t, err, "readonly")
}

// Whoever has only sqlite3 can open the file and ask every view.
func TestForeignBrowser(t *testing.T) {
	tool, err := exec.LookPath("sqlite3")
	if err != nil {
		if strings.Contains(os.Getenv("ASSAY_MUST_RUN"), "sqlite3") {
			t.Fatal(err)
		}
		t.Skipf("%v; install sqlite3", err)
	}
	db := openTemp(t)
	record(t, db, fullRun(t, t.TempDir()))
	for _, v := range views(t, db.read) {
		out, err := exec.CommandContext(context.Background(), tool, "-readonly", db.Path(), "SELECT count(*) FROM "+v).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", v, err, out)
		}
	}
}

// views returns the names of all views.
func views(t *testing.T, db *sql.DB) (names []string) {
	t.Helper()
	must(t, each(db, "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name", func(r *sql.Rows) error {
		var name string
		err := r.Scan(&name)
		names = append(names, name)
		return err
	}))
	return names
}
