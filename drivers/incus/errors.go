package incus

import (
	"errors"
	"io/fs"

	"assay/drivers/internal/cli"
)

// meanings is what the complaints of a client mean. service is its server's
// systemd unit, group whom it lets in.
func meanings(service, group string) []cli.Pattern {
	start := cli.StartService(service)
	return []cli.Pattern{
		{Text: "daemon doesn't appear to be started", Kind: cli.ErrDaemon, Fix: start},
		{Text: "please check lxd is running", Kind: cli.ErrDaemon, Fix: start},
		{Text: "unix.socket: connect: permission denied", Kind: fs.ErrPermission, Fix: "usermod -aG " + group + " $USER, and log in again"},
		{Text: "unix.socket: connect:", Kind: cli.ErrDaemon, Fix: start},
		{Text: "have permissions on", Kind: fs.ErrPermission, Fix: "usermod -aG " + group + " $USER, and log in again"},
		{Text: "you don't have the needed permissions", Kind: fs.ErrPermission, Fix: "usermod -aG " + group + " $USER, and log in again"},
		{Text: "unexpected eof", Kind: cli.ErrDaemon, Fix: start},
		{Text: "\": eof", Kind: cli.ErrDaemon, Fix: start},
		{Text: "hasn't been configured to use a remote server", Kind: cli.ErrDaemon, Fix: "incus remote add NAME URL"},

		{Text: "no space left on device", Kind: cli.ErrNoSpace, Fix: "incus storage info POOL says what takes it"},
		{Text: "disk quota exceeded", Kind: cli.ErrNoSpace, Fix: "ask for a larger disk"},
		{Text: "cannot allocate memory", Kind: cli.ErrNoMemory},

		{Text: "vm agent isn't currently running", Kind: cli.ErrNoTools, Fix: "use an image that has the agent of Incus, such as images:debian/12"},
		{Text: "failed to connect to the agent", Kind: cli.ErrNoTools},
		{Text: "is not supported on this server", Kind: errors.ErrUnsupported, Fix: typeEnv + "=container has containers launched"},

		{Text: "unique constraint failed", Kind: fs.ErrExist},
		{Text: "already exists", Kind: fs.ErrExist},
		{Text: "not running", Kind: cli.ErrState},
		{Text: "isn't running", Kind: cli.ErrState},
		{Text: "is frozen", Kind: cli.ErrState},
		{Text: "instance is running", Kind: cli.ErrState},
		{Text: "is already running", Kind: cli.ErrState},
		{Text: "is already stopped", Kind: cli.ErrState},
		{Text: "is currently running", Kind: cli.ErrState},
		{Text: "instance is busy", Kind: cli.ErrState},
		{Text: "invalid pid", Kind: cli.ErrState}, // of a container that is just ending

		{Text: "no such host", Kind: cli.ErrNetwork, Fix: "incus image copy REMOTE:IMAGE local: --alias NAME where there is a network, then use local:NAME"},
		{Text: "network is unreachable", Kind: cli.ErrNetwork},
		{Text: "i/o timeout", Kind: cli.ErrNetwork},

		{Text: "not found", Kind: fs.ErrNotExist},
		{Text: "does not exist", Kind: fs.ErrNotExist},
		{Text: "image not provided", Kind: fs.ErrNotExist},
	}
}
