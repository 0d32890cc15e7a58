package incus

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/images"
	"assay/vm"
)

func TestMain(m *testing.M) {
	if program := os.Getenv(initEnv); program != "" {
		os.Exit(beInit(program))
	}
	standin.Main(m)
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

// realImage is debian-12 of the user's own store.
func realImage(t *testing.T) vm.Image {
	t.Helper()
	store, err := images.Open(filepath.Join(home(), "images"))
	if err != nil {
		drivertest.Skip(t, driverName, err.Error())
	}
	img, err := store.Resolve("debian-12")
	if err != nil {
		drivertest.Skip(t, driverName, err.Error())
	}
	return img
}

// realConfig has the agent that "make agent" has built.
func realConfig(t *testing.T) cli.Config {
	t.Helper()
	return cli.Config{Home: t.TempDir(), Agents: func(arch string) ([]byte, error) {
		return os.ReadFile(filepath.Join("..", "..", "cmd", "assay", "agent", "assay-agent-"+arch))
	}}
}

// TestReal meets each daemon that is installed: at least one, where the driver
// must run.
func TestReal(t *testing.T) {
	if testing.Short() {
		t.Skip("containers take minutes")
	}
	met := false
	for _, f := range flavours {
		if f.program() == "" {
			continue
		}
		met = true
		t.Run(f.name, func(t *testing.T) { meet(t, f) })
	}
	if !met {
		drivertest.Skip(t, driverName, "neither Incus nor LXD is installed for "+runtime.GOOS)
	}
}

// meet runs everything against one daemon.
func meet(t *testing.T, f flavour) {
	img := realImage(t)
	d := startDaemon(t, f)
	r := &real{d: d, img: img, driver: New(realConfig(t)).(*driver)}
	drivertest.Run(t, drivertest.Config{Driver: r.driver, Image: img, Existing: r.existing})
	for _, test := range []struct {
		name string
		fn   func(*real, *testing.T)
	}{
		{"DaemonKilled", (*real).daemonKilled}, {"DeletedBehindOurBack", (*real).deleted},
		{"GuestShutsDown", (*real).shutsDown}, {"GuestRestarts", (*real).restarts},
		{"Card", (*real).card}, {"LocalName", (*real).localName}, {"CutLineLeavesNoAgent", (*real).cutLine},
		{"AdoptedFrozen", (*real).adoptedFrozen}, {"FrozenIsClosed", (*real).frozen}, {"BrokenInit", (*real).brokenInit},
		{"ImagesAreTrimmed", (*real).trimmed}, // the last: they are made again
	} {
		t.Run(test.name, func(t *testing.T) { test.fn(r, t) })
	}
}
