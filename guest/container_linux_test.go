package guest_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"assay/guest"
)

// insideEnv says that the test runs in namespaces of its own.
const insideEnv = "ASSAY_TEST_INSIDE"

// A container's root may set neither the clock nor the randomness of the kernel,
// which is the host's; the rest of its identity is renewed all the same.
func TestRenewInAContainer(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		inside(t)
		return
	}
	before, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	id := guest.Identity{Entropy: random(64), Time: time.Now().Add(time.Hour), Hostname: before + "-renewed"}
	if err := (&guest.OS{}).Renew(context.Background(), id); err != nil {
		t.Error(err)
	}
	if now, err := os.Hostname(); err != nil || now != id.Hostname {
		t.Errorf("got the name %q, %v; want %q", now, err, id.Hostname)
	}
	if time.Since(id.Time) > -time.Minute {
		t.Error("the host's clock was set")
	}
}

// inside runs the test in namespaces of its own, as the root of one.
func inside(t *testing.T) {
	must(t, os.Getuid() == 0, "root")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	ids := []syscall.SysProcIDMap{{Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWUTS, UidMappings: ids, GidMappings: ids}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
