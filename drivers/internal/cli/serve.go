package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"assay/seed"
)

// transient is where a unit lies that the guest's next boot does not know.
var transient = path.Join("/run/systemd/system", path.Base(seed.UnitPath))

// Serve starts the agent that Enter put in as a service with arguments, such as
// "port /dev/ttyS1". It needs systemd. Its end is Unserve, or the guest's.
func Serve(ctx context.Context, g Guest, args string) error {
	start := "ExecStart=" + AgentPath
	unit := strings.Replace(string(seed.Unit()), start, start+" "+args, 1)
	script := fmt.Sprintf("mkdir -p %s && cat >%s && systemctl daemon-reload && systemctl restart %s",
		path.Dir(transient), transient, path.Base(transient))
	if _, err := g.Exec(ctx, []string{"sh", "-c", script}, strings.NewReader(unit)); err != nil {
		return fmt.Errorf("start the agent in the guest: %w", err)
	}
	return nil
}

// Unserve ends what Serve started, if it did.
func Unserve(ctx context.Context, g Guest) error {
	script := fmt.Sprintf("[ -e %[1]s ] || exit 0; systemctl stop %[2]s; rm -f %[1]s; systemctl daemon-reload", transient, path.Base(transient))
	if _, err := g.Exec(ctx, []string{"sh", "-c", script}, nil); err != nil {
		return fmt.Errorf("end the agent in the guest: %w", err)
	}
	return nil
}

// Depart takes the agent out of a guest that Serve and Enter put it into, and lets
// the guest write that to its disk: its power may be cut next.
func Depart(ctx context.Context, g Guest) error {
	err := errors.Join(Unserve(ctx, g), Leave(ctx, g))
	if _, flushed := g.Exec(ctx, []string{"sync"}, nil); flushed != nil {
		err = errors.Join(err, flushed)
	}
	return err
}

// toolsLimit is how long a guest's tools may take until they let somebody in.
const toolsLimit = 3 * time.Minute

// Inhabited waits until the hypervisor's tools run a command in a guest that
// boots. fix is what to do if they never do; alive says why the guest runs no more.
func Inhabited(ctx context.Context, g Guest, fix string, alive func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, toolsLimit, fmt.Errorf("not there after %v: %w; %s", toolsLimit, ErrNoTools, fix))
	defer cancel()
	var last error // that was not the end of the wait itself
	return Until(ctx, "the guest's tools", func(ctx context.Context) (bool, error, error) {
		_, err := g.Exec(ctx, []string{"true"}, nil)
		if err == nil {
			return true, nil, nil
		}
		if ctx.Err() != nil {
			return false, last, nil
		}
		last = err
		if gone := alive(ctx); gone != nil && ctx.Err() == nil {
			return false, last, gone
		}
		return false, last, nil
	})
}

// Account is the account of a guest that assay did not make, through which the
// hypervisor's tools run commands there: root, or one with passwordless sudo.
type Account struct{ User, Password string }

// GuestAccount reads the account from the environment.
func GuestAccount() (Account, error) {
	a := Account{os.Getenv("ASSAY_GUEST_USER"), os.Getenv("ASSAY_GUEST_PASSWORD")}
	if a.User == "" || a.Password == "" {
		return a, errors.New("there is no way into the guest: set ASSAY_GUEST_USER and ASSAY_GUEST_PASSWORD to an account there that is root, or has sudo without a password")
	}
	return a, nil
}

// AsRoot returns the command that runs argv as root, with an absolute path as
// its first word. Programs are looked for where root's are.
func (a Account) AsRoot(argv []string) []string {
	script := `PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; exec "$@"`
	if a.User != "root" {
		script = strings.Replace(script, "exec ", "exec sudo -n ", 1)
	}
	return append([]string{"/bin/sh", "-c", script, "sh"}, argv...)
}
