package libvirt

import (
	"errors"
	"io/fs"

	"assay/drivers/internal/cli"
)

// startDaemon is what makes a connection that is refused work.
var startDaemon = cli.StartService("libvirtd")

// virsh is the command, connected to uri. -q leaves tables without headers and
// success without chatter.
func virsh(uri string) *cli.Tool {
	return &cli.Tool{
		Driver: "libvirt",
		Name:   "virsh",
		Args:   []string{"-q", "-c", uri},
		Fix:    "apt-get install libvirt-clients libvirt-daemon-system",
		Errors: complaints,
	}
}

// complaints are libvirt's words, in the C locale. The first that fits counts,
// so what says more stands before what says less.
var complaints = []cli.Pattern{
	{Text: "failed to get domain", Kind: fs.ErrNotExist},
	{Text: "Domain not found", Kind: fs.ErrNotExist},
	{Text: "Domain snapshot not found", Kind: fs.ErrNotExist},
	{Text: "already exists", Kind: fs.ErrExist},

	{Text: "authentication unavailable", Kind: fs.ErrPermission, Fix: "usermod -aG libvirt $USER, and log in again"},
	{Text: "authentication failed", Kind: fs.ErrPermission, Fix: "usermod -aG libvirt $USER, and log in again"},
	{Text: "libvirt-sock': Permission denied", Kind: fs.ErrPermission, Fix: "usermod -aG libvirt $USER, and log in again"},
	{Text: "Permission denied (publickey", Kind: fs.ErrPermission, Fix: "ssh-copy-id to that host: assay cannot type a password"},
	{Text: "Host key verification failed", Kind: fs.ErrPermission, Fix: "ssh to that host once by hand"},
	{Text: "ssh: ", Kind: cli.ErrNetwork, Fix: "ssh to that host must work by hand first"},
	{Text: "Cannot recv data", Kind: cli.ErrDaemon, Fix: startDaemon},
	{Text: "End of file while reading data", Kind: cli.ErrDaemon, Fix: startDaemon},
	{Text: "client socket is closed", Kind: cli.ErrDaemon, Fix: startDaemon},
	{Text: "Disconnected from", Kind: cli.ErrDaemon, Fix: startDaemon},
	{Text: "Failed to connect socket", Kind: cli.ErrDaemon, Fix: startDaemon},
	{Text: "unexpected qemu URI", Kind: errors.ErrUnsupported, Fix: "use qemu:///system, qemu:///session or qemu+ssh://USER@HOST/system"},

	{Text: "No space left on device", Kind: cli.ErrNoSpace},
	{Text: "cannot allocate memory", Kind: cli.ErrNoMemory},
	{Text: "cannot set up guest memory", Kind: cli.ErrNoMemory},
	{Text: "KVM is not available", Kind: cli.ErrVirtual},
	{Text: "Could not access KVM", Kind: cli.ErrVirtual},
	{Text: "domaintype=kvm", Kind: cli.ErrVirtual},
	{Text: "is not active", Kind: cli.ErrNetwork, Fix: "virsh net-start default"},
	{Text: "Network not found", Kind: cli.ErrNetwork, Fix: "virsh net-start default"},

	{Text: "QEMU guest agent is not", Kind: cli.ErrNoTools},
	{Text: "Guest agent is not responding", Kind: cli.ErrNoTools},
	{Text: "guest agent is not configured", Kind: cli.ErrNoTools},

	{Text: "domain is not running", Kind: cli.ErrState},
	{Text: "is already active", Kind: cli.ErrState},
	{Text: "already running", Kind: cli.ErrState},
	{Text: "not supported", Kind: errors.ErrUnsupported},
	{Text: "Permission denied", Kind: fs.ErrPermission},
	{Text: "No such file or directory", Kind: fs.ErrNotExist},
}
