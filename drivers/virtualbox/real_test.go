package virtualbox

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// real returns a driver on the VirtualBox of this host. ASSAY_VBOXMANAGE may say
// where VBoxManage is; it must see the same files as the test.
func real(t *testing.T) (*driver, string) {
	t.Helper()
	home := t.TempDir()
	d := New(cli.Config{Home: home, Agents: standin.AgentProgram}).(*driver)
	v, err := d.version(t.Context())
	if err != nil {
		drivertest.Skip(t, "virtualbox", "VBoxManage: "+err.Error())
	}
	t.Logf("met VirtualBox %s", v.text)
	return d, home
}

// realSpec asks for a machine with a larger disk than the image's.
func realSpec(t *testing.T, name string) vm.Spec {
	t.Helper()
	return vm.Spec{Name: name, Owner: "real-" + t.Name(), Dir: t.TempDir(), Image: image(t), CPUs: 1, Memory: 256 << 20, Disk: 64 << 20}
}

// made returns a machine that has not started.
func made(t *testing.T, d *driver, spec vm.Spec) *machine {
	t.Helper()
	v, err := d.version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	base, err := d.base(t.Context(), spec, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.add(spec, cli.Note{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.make(t.Context(), spec, v, base); err != nil {
		t.Fatal(err)
	}
	return m
}

// expect fails unless VirtualBox says this of a machine.
func expect(t *testing.T, m *machine, want map[string]string) {
	t.Helper()
	i, err := m.d.info(t.Context(), m.id)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range want {
		if i[key] != value {
			t.Errorf("%s: %s: got %q, want %q", m.name, key, i[key], value)
		}
	}
}

// left returns what VirtualBox still has of a home folder's.
func left(t *testing.T, d *driver, home string) (all []string) {
	t.Helper()
	for _, kind := range []string{"vms", "hdds", "dvds"} {
		r, err := d.manage.Run(t.Context(), "list", "--long", kind)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(r.Stdout)) {
			if strings.Contains(line, home) {
				all = append(all, kind+": "+strings.TrimSpace(line))
			}
		}
	}
	return all
}

// sleeping gives a machine what VirtualBox takes for its saved memory: without
// the kernel module no machine has any, but all that is done with it can be seen.
func sleeping(t *testing.T, m *machine) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "memory.sav")
	if err := os.WriteFile(file, []byte("no memory at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.d.run(t.Context(), "adoptstate", m.id, file); err != nil {
		t.Fatal(err)
	}
	expect(t, m, map[string]string{"VMState": "saved"})
}

// TestRealMachine proves, with VirtualBox itself, that a machine is what was
// asked for, that its snapshots and forks keep memory, and that nothing is left
// of it but the image's disk. It starts nothing.
func TestRealMachine(t *testing.T) {
	d, home := real(t)
	ctx := t.Context()
	m := made(t, d, realSpec(t, "parent"))
	expect(t, m, map[string]string{
		"VMState": "poweroff", "cpus": "1", "memory": "256", "nic1": "null", "cableconnected1": "on", "firmware": "BIOS",
		"uart1": "0x03f8,4", "uartmode1": "file," + m.console().Path(), "uart2": "0x02f8,3", "uartmode2": "server," + m.Socket,
		"SATA-0-0": m.path(diskName), "SATA-1-0": m.path(seedName),
	})
	r, err := d.run(ctx, "showmediuminfo", "disk", m.path(diskName))
	if err != nil || !strings.Contains(string(r.Stdout), "64 MBytes") || !strings.Contains(string(r.Stdout), "differencing") {
		t.Errorf("the disk: got %s, %v; want a difference of 64 MBytes", r.Stdout, err)
	}
	sleeping(t, m)
	first, err := m.take(ctx, "--live") // a name that looks like an option
	if err != nil {
		t.Fatal(err)
	}
	child := forked(t, m, "child", first)
	second, err := child.take(ctx, "again")
	if err != nil {
		t.Fatal(err)
	}
	grandchild := forked(t, child, "grandchild", second)
	if _, err := d.run(ctx, "snapshot", m.id, "restore", first); err != nil {
		t.Error(err)
	}
	expect(t, m, map[string]string{"VMState": "saved", "CurrentSnapshotUUID": first})
	for _, gone := range []*machine{m, child} {
		if err := gone.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		expect(t, grandchild, map[string]string{"VMState": "saved"})
	}
	if err := grandchild.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	onlyTheImage(t, d, home)
}

// forked makes a fork that has not started.
func forked(t *testing.T, parent *machine, name, snapshot string) *machine {
	t.Helper()
	note, err := parent.d.place.Note(parent.name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parent.d.add(realSpec(t, name), cli.Note{Parent: parent.name, Base: note.Base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.clone(t.Context(), parent, snapshot); err != nil {
		t.Fatal(err)
	}
	expect(t, f, map[string]string{
		"VMState": "saved", "nic1": "null", "uartmode1": "file," + f.console().Path(), "uartmode2": "server," + f.Socket,
	})
	expect(t, parent, map[string]string{"uartmode2": "server," + parent.Socket})
	return f
}

// onlyTheImage fails if VirtualBox still knows anything, or the image's disk is
// not there any more: what unregistervm --delete would do.
func onlyTheImage(t *testing.T, d *driver, home string) {
	t.Helper()
	if all := left(t, d, home); len(all) > 0 {
		t.Errorf("VirtualBox still has %q", all)
	}
	names, err := d.place.Names()
	if err != nil || len(names) > 0 {
		t.Errorf("the driver's folder still has %q, %v", names, err)
	}
	disks, err := filepath.Glob(filepath.Join(home, "drivers", driverName, "kept", "*.vdi"))
	if err != nil || len(disks) != 1 {
		t.Errorf("got the image's disks %q, %v; want one", disks, err)
	}
}

// TestRealLaunch proves that a launch that VirtualBox cannot bring to an end
// leaves nothing behind. Where machines can start this one has nothing to boot,
// and is left alone.
func TestRealLaunch(t *testing.T) {
	d, home := real(t)
	if d.canStart(t.Context()) == nil {
		t.Skip("machines can start here")
	}
	if _, err := d.Probe(t.Context()); !errors.Is(err, cli.ErrVirtual) {
		if unavailable := (*vm.UnavailableError)(nil); !errors.As(err, &unavailable) || unavailable.Fix == "" {
			t.Errorf("Probe: got %v, want a *vm.UnavailableError that says what to do", err)
		}
	}
	spec := realSpec(t, "launched")
	m, err := d.Launch(t.Context(), spec)
	if err == nil {
		m.Close()
		t.Fatal("a machine started that cannot")
	}
	t.Logf("Launch: %v", err)
	if !strings.Contains(err.Error(), "terminated unexpectedly during startup") {
		t.Errorf("got %v, want VirtualBox's own words", err)
	}
	if _, err := os.Stat(spec.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the launch left its folder: %v", err)
	}
	onlyTheImage(t, d, home)
}

// TestRealSweep proves that a dead run's machines are found in VirtualBox itself:
// by their names, whoever deleted the driver's notes.
func TestRealSweep(t *testing.T) {
	d, home := real(t)
	spec := realSpec(t, "orphan")
	m := made(t, d, spec)
	if err := os.Remove(m.path("note.json")); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Sweep(t.Context(), "nobody"); n != 0 || err != nil {
		t.Errorf("a stranger's Sweep: got %d, %v; want 0", n, err)
	}
	if n, err := d.Sweep(t.Context(), spec.Owner); n != 1 || err != nil {
		t.Errorf("Sweep: got %d, %v; want 1", n, err)
	}
	// Without the note nobody knows on which disk the machine's lay.
	d.forget(t.Context(), "disk", filepath.Join(home, "drivers", driverName, "kept", filepath.Base(kept(t, home))))
	onlyTheImage(t, d, home)
}

// kept returns the image's disk.
func kept(t *testing.T, home string) string {
	t.Helper()
	disks, err := filepath.Glob(filepath.Join(home, "drivers", driverName, "kept", "*.vdi"))
	if err != nil || len(disks) != 1 {
		t.Fatalf("got the image's disks %q, %v; want one", disks, err)
	}
	return disks[0]
}

// TestRealErrors proves that VirtualBox's complaints are understood.
func TestRealErrors(t *testing.T) {
	d, _ := real(t)
	m := made(t, d, realSpec(t, "wrong"))
	for _, tc := range []struct {
		kind error
		args []string
	}{
		{fs.ErrNotExist, []string{"showvminfo", "assay-no-such", "--machinereadable"}},
		{fs.ErrNotExist, []string{"snapshot", m.id, "restore", "no-such"}},
		{cli.ErrState, []string{"controlvm", m.id, "poweroff"}},
		{cli.ErrState, []string{"discardstate", m.id}}, // exit code 0
		{fs.ErrExist, []string{"createvm", "--name", m.name, "--register", "--basefolder", d.place.Dir("")}},
		{fs.ErrExist, []string{"createmedium", "disk", "--filename", m.path(diskName), "--size", "64"}},
		{errInUse, []string{"closemedium", "disk", kept(t, filepath.Dir(filepath.Dir(filepath.Dir(d.place.Dir("")))))}},
		{cli.ErrFailed, []string{"modifyvm", m.id, "--memory", "1"}},
	} {
		r, err := d.manage.Run(t.Context(), tc.args...)
		if !errors.Is(err, tc.kind) {
			t.Errorf("%q: got %v (exit %d), want %v", tc.args, err, r.Exit, tc.kind)
		}
	}
}

// TestRealAdopt proves that a machine of the user's that cannot start is given
// back as it was found.
func TestRealAdopt(t *testing.T) {
	d, home := real(t)
	ctx := t.Context()
	if d.canStart(ctx) == nil {
		t.Skip("machines can start here, and this one has nothing to boot")
	}
	const name = "assay-test Jane's Debian"
	if _, err := d.run(ctx, "createvm", "--name", name, "--ostype", "Linux_64", "--register", "--basefolder", home); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.manage.Run(context.Background(), "unregistervm", name) })
	t.Setenv("ASSAY_GUEST_USER", "jane")
	t.Setenv("ASSAY_GUEST_PASSWORD", "secret")
	before, err := d.info(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Adopt(ctx, name, realSpec(t, "a")); err == nil || !strings.Contains(err.Error(), "terminated unexpectedly") {
		t.Errorf("got %v, want VirtualBox's own words", err)
	}
	after, err := d.info(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	delete(before, "VMStateChangeTime")
	delete(after, "VMStateChangeTime")
	if !maps.Equal(before, after) {
		t.Errorf("got %v, want %v", after, before)
	}
	if _, err := d.Adopt(ctx, "assay-no-such", realSpec(t, "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown name: got %v, want fs.ErrNotExist", err)
	}
}
