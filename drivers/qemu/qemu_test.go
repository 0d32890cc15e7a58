//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/images"
	"assay/vm"
)

// realImage returns an image that boots, or skips the test. It is debian-12
// of the user's own store, or what the JSON file ASSAY_TEST_IMAGE describes.
func realImage(t *testing.T) vm.Image {
	t.Helper()
	needProgram(t)
	if path := os.Getenv("ASSAY_TEST_IMAGE"); path != "" {
		return described(t, path)
	}
	store, err := images.Open(filepath.Join(home(), "images"))
	if err != nil {
		skip(t, err.Error())
	}
	img, err := store.Resolve("debian-12")
	if err != nil {
		skip(t, err.Error())
	}
	return img
}

func described(t *testing.T, path string) vm.Image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var img vm.Image
	if err := json.Unmarshal(data, &img); err != nil {
		t.Fatal(err)
	}
	return img
}

// home is assay's state folder.
func home() string {
	if dir := os.Getenv("ASSAY_HOME"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "assay")
	}
	dir, _ := os.UserHomeDir()
	return filepath.Join(dir, ".local", "share", "assay")
}

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) != "" {
		os.Exit(beParent())
	}
	os.Exit(m.Run())
}

// specFor is a small machine in a folder of its own.
func specFor(t *testing.T, img vm.Image, name string) vm.Spec {
	t.Helper()
	return vm.Spec{
		Name: name, Owner: "test", Dir: filepath.Join(t.TempDir(), name),
		Image: img, CPUs: 1, Memory: 512 << 20,
		Progress: func(phase string) { t.Logf("%s: %s", name, phase) },
	}
}

// processes lists the QEMUs that work in folders below dir.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, l := range links {
		if cwd, err := os.Readlink(l); err == nil && strings.HasPrefix(cwd, dir) {
			found = append(found, l)
		}
	}
	return found
}

// leavesNothing fails the test if a launch left a process or its folder.
func leavesNothing(t *testing.T, spec vm.Spec) {
	t.Helper()
	if p := processes(t, spec.Dir); len(p) > 0 {
		t.Errorf("processes are left: %v", p)
	}
	if _, err := os.Stat(spec.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", spec.Dir, err)
	}
}

// kernel returns the image with a disk that holds nothing, so that only its
// kernel and the given command line count.
func kernel(t *testing.T, line string) vm.Image {
	t.Helper()
	img := realImage(t)
	if img.Kernel == "" {
		skip(t, "the image has no kernel of its own")
	}
	empty := image(t)
	empty.Kernel, empty.Append = img.Kernel, line
	return empty
}

func TestPanicIsABootError(t *testing.T) {
	for name, line := range map[string]string{
		"reboots": "console=ttyS0 root=/dev/vda",         // panic=-1 is added
		"hangs":   "console=ttyS0 root=/dev/vda panic=0", // only the console tells
	} {
		t.Run(name, func(t *testing.T) {
			spec := specFor(t, kernel(t, line), "m")
			m, err := New(Config{}).Launch(t.Context(), spec)
			boot, ok := errors.AsType[*vm.BootError](err)
			if m != nil || !ok {
				t.Fatalf("got %v, %v, want a *vm.BootError", m, err)
			}
			if !strings.Contains(err.Error(), "Kernel panic - not syncing: VFS") {
				t.Errorf("got %v, want the panic's words", err)
			}
			if !strings.Contains(string(boot.Console), "Linux version") {
				t.Errorf("got a console of %d bytes, want the boot's", len(boot.Console))
			}
			leavesNothing(t, spec)
		})
	}
}

func TestGuestThatNeverAnswers(t *testing.T) {
	img := image(t) // an empty disk: the firmware finds nothing to boot
	needProgram(t)
	spec := specFor(t, img, "m")
	began := time.Now()
	_, err := New(Config{BootDeadline: 2 * time.Second}).Launch(t.Context(), spec)
	if !is[*vm.BootError](err) || !strings.Contains(err.Error(), "no answer from the agent in ") {
		t.Errorf("got %v, want a *vm.BootError that names the deadline", err)
	}
	if took := time.Since(began); took < 2*time.Second || took > time.Minute {
		t.Errorf("took %v", took)
	}
	leavesNothing(t, spec)
}

func TestDiskThatIsNoDisk(t *testing.T) {
	needProgram(t)
	img := image(t)
	img.Format = "qcow2"
	spec := specFor(t, img, "m")
	_, err := New(Config{}).Launch(t.Context(), spec)
	if err == nil || is[*vm.BootError](err) || !strings.Contains(err.Error(), "not in qcow2 format") {
		t.Errorf("got %v, want QEMU's own words and no *vm.BootError", err)
	}
	leavesNothing(t, spec)
}

func TestCancelMidLaunchLeavesNothing(t *testing.T) {
	needProgram(t)
	spec := specFor(t, image(t), "m")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the user went away")
	go func() {
		for len(processes(t, spec.Dir)) == 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel(why)
	}()
	_, err := New(Config{}).Launch(ctx, spec)
	if !errors.Is(err, why) || is[*vm.BootError](err) {
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
	leavesNothing(t, spec)
}

func TestLongFolderGetsAShortSocket(t *testing.T) {
	needProgram(t)
	spec := specFor(t, image(t), "m")
	spec.Dir = filepath.Join(t.TempDir(), strings.Repeat("long/", 30), "m")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	t.Setenv("TMPDIR", t.TempDir()) // not the folder of runs before, which may have been killed
	_, err := New(Config{}).Launch(ctx, spec)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want only the deadline", err)
	}
	leavesNothing(t, spec)
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), socketPrefix+"*"))
	if len(left) > 0 {
		t.Errorf("sockets are left: %v", left)
	}
}

// parentEnv makes the test binary a process that launches a machine and waits
// to be killed.
const parentEnv = "ASSAY_TEST_PARENT"

func beParent() int {
	dir := os.Getenv(parentEnv)
	disk := filepath.Join(dir, "disk.raw")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		return 1
	}
	New(Config{}).Launch(context.Background(), vm.Spec{
		Name: "m", Owner: "dead", Dir: filepath.Join(dir, "run", "dead", "m"), CPUs: 1, Memory: 128 << 20,
		Image: vm.Image{Disk: disk, Format: "raw", Size: 1 << 20},
	})
	return 1 // it never comes up, so this is not reached before the kill
}

// QEMU dies with the process that launched it, even by SIGKILL, and Sweep
// removes what is left.
func TestKilledParentTakesQEMUAlong(t *testing.T) {
	needProgram(t)
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	machine := filepath.Join(dir, "run", "dead", "m")
	wait(t, "QEMU to start", func() bool { return len(processes(t, machine)) > 0 })
	parent.Process.Kill()
	parent.Wait()
	wait(t, "QEMU to die", func() bool { return len(processes(t, machine)) == 0 })
	n, err := New(Config{RunDir: filepath.Join(dir, "run")}).Sweep(t.Context(), "dead")
	if n != 1 || err != nil || !gone(t, machine) {
		t.Errorf("sweep: got %d, %v, folder gone: %v, want 1 machine", n, err, gone(t, machine))
	}
}

// wait waits until cond holds.
func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// testDriver clones the user's own templates, so that an image is booted once
// for all tests of all rooms, and not again tomorrow.
func testDriver(runDir string) vm.Driver {
	return New(Config{TemplateDir: filepath.Join(home(), "templates"), RunDir: runDir})
}

func TestConformance(t *testing.T) {
	img := realImage(t)
	runs := t.TempDir()
	drivertest.Run(t, drivertest.Config{Driver: testDriver(runs), Image: img, RunDir: runs})
}
