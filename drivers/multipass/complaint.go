package multipass

import (
	"errors"
	"io/fs"
	"runtime"

	"assay/drivers/internal/cli"
)

// errBoot is what Multipass says of a guest that does not come up.
var errBoot = errors.New("the guest did not come up")

// complaints are what the command says when it fails.
var complaints = []cli.Pattern{
	{Text: "multipass socket", Kind: cli.ErrDaemon, Fix: starter[runtime.GOOS]},
	{Text: "not authenticated", Kind: fs.ErrPermission, Fix: "multipass authenticate"},
	{Text: "timed out waiting for", Kind: errBoot},
	{Text: "Instance shutdown during start", Kind: errBoot},
	{Text: "is being prepared", Kind: fs.ErrExist},
	{Text: "already exists", Kind: fs.ErrExist},
	{Text: "is deleted", Kind: fs.ErrNotExist, Fix: "multipass recover NAME brings it back"},
	{Text: "No such snapshot", Kind: fs.ErrNotExist},
	{Text: "Unable to find an image", Kind: fs.ErrNotExist, Fix: "multipass find lists the images that there are"},
	{Text: "does not exist", Kind: fs.ErrNotExist},
	{Text: "instance(s) missing", Kind: fs.ErrNotExist},
	{Text: "No space left on device", Kind: cli.ErrNoSpace},
	{Text: "Available disk (", Kind: cli.ErrNoSpace},
	{Text: "Cannot allocate memory", Kind: cli.ErrNoMemory},
	{Text: "KVM", Kind: cli.ErrVirtual, Fix: "switch the processor's virtualisation on in the firmware"},
	{Text: "not implemented on this backend", Kind: errors.ErrUnsupported},
	{Text: "stopped instances", Kind: cli.ErrState},
	{Text: "Cannot shut down", Kind: cli.ErrState},
	{Text: "Cannot start the instance", Kind: cli.ErrState},
	{Text: "in an unknown state", Kind: cli.ErrState},
	{Text: "is not running", Kind: cli.ErrState},
	{Text: "ssh connection failed", Kind: cli.ErrNoTools},
	{Text: "failed to download", Kind: cli.ErrNetwork, Fix: "try again when the network is up"},
	{Text: "network timeout", Kind: cli.ErrNetwork, Fix: "try again when the network is up"},
}

// execComplaints are the command's own when it runs something in a guest: all
// else on that standard error may be the guest's.
var execComplaints = []cli.Pattern{
	{Text: "exec failed: ssh connection failed", Kind: cli.ErrNoTools},
	{Text: "exec failed:", Kind: cli.ErrState},
}

// exitDaemon is the command's exit code when its daemon cannot be reached,
// whatever it says.
const exitDaemon = 3

// exitTimeout is its exit code when its own --timeout is over.
const exitTimeout = 5

// understood adds to an error what the exit code says.
func understood(err error) error {
	var e *cli.Error
	if !errors.As(err, &e) || e.Kind != cli.ErrFailed {
		return err
	}
	switch e.Exit {
	case exitDaemon:
		e.Kind, e.Fix = cli.ErrDaemon, starter[runtime.GOOS]
	case exitTimeout:
		e.Kind = errBoot
	}
	return err
}
