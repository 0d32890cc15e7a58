//go:build linux

package capture_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"assay/drivers/qemu"
	"assay/guest"
	"assay/vm"
)

// TestLive carries this room's tests of the live collectors into a real guest and
// runs them there: their short cuts must say what systemctl, journalctl and the
// plain files say.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	img := image(t)
	tests := filepath.Join(t.TempDir(), "tests")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", tests, "assay/capture")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "live")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m, err := qemu.New(qemu.Config{NoTemplates: true}).Launch(ctx, vm.Spec{Name: "live", Owner: "live-test", Dir: filepath.Join(dir, "m"), Image: img, CPUs: 2, Memory: 512 << 20, Cold: true})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	g := &machine{t: t, ctx: ctx, m: m}
	g.dial()
	_, err = g.c.Push(ctx, tests, "/usr/lib/assay/tests", guest.PushOptions{User: "root"})
	must(t, err)
	g.run(`sudo systemd-run -q --unit=extra sleep 999; sudo systemctl start no-such-unit || true
		logger -p user.err "error $$"; logger -p user.crit "$(head -c 900 /dev/zero | tr '\0' y)"; printf '\033[1mbold\377\n' | logger -p user.err
		python3 -c 'import socket,time; s=socket.socket(); s.bind(("127.0.0.1",8099)); s.listen(); time.sleep(999)' >/dev/null 2>&1 </dev/null & sleep 2`)
	var out bytes.Buffer
	exit, err := g.c.Exec(ctx, guest.Command{Shell: "chmod 755 /usr/lib/assay/tests; cd / && ASSAY_TEST_IN_GUEST=1 /usr/lib/assay/tests -test.v -test.run '^TestGuest'", User: "root"}, nil, &out, &out)
	must(t, err)
	t.Logf("%s", out.String())
	if exit.Code != 0 {
		t.Errorf("exit code %d in the guest", exit.Code)
	}
}
