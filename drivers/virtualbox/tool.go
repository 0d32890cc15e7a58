package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"runtime"
	"strings"

	"assay/drivers/internal/cli"
)

// Kinds of error that only this driver tells apart.
var (
	errLocked = fmt.Errorf("%w: another session has it locked", cli.ErrState)
	errInUse  = errors.New("other disks depend on it")
)

// What to type next.
const (
	fixModule  = `build and load VirtualBox's kernel module: "sudo /sbin/vboxconfig"`
	fixVirtual = `turn VT-x or AMD-V on in the firmware's settings; on Windows, Hyper-V may have taken it: "bcdedit /set hypervisorlaunchtype off"`
	fixSpace   = `free some space: "assay gc"`
	fixTools   = "install the Guest Additions in the guest (virtualbox-guest-utils), and check the account's password"
	fixService = "end VBoxSVC, and try again"
)

// tool returns VBoxManage, and what it means by its complaints. Their codes are
// not translated, unlike the sentences. Some come with exit code 0.
func tool() *cli.Tool {
	t := &cli.Tool{
		Driver: driverName, Name: "VBoxManage", Fix: installFix(),
		Places: []string{
			"/usr/lib/virtualbox/VBoxManage", "/Applications/VirtualBox.app/Contents/MacOS/VBoxManage",
			`C:\Program Files\Oracle\VirtualBox\VBoxManage.exe`,
		},
		Errors: []cli.Pattern{
			{Text: "vboxdrv kernel module is not loaded", Kind: cli.ErrDaemon, Fix: fixModule, Stdout: true},
			{Text: "Kernel driver not installed", Kind: cli.ErrDaemon, Fix: fixModule},
			{Text: "failed to open /dev/vbox", Kind: cli.ErrDaemon, Fix: fixModule},
			{Text: "VERR_VMX_", Kind: cli.ErrVirtual, Fix: fixVirtual},
			{Text: "VERR_SVM_", Kind: cli.ErrVirtual, Fix: fixVirtual},
			{Text: "VERR_NEM_NOT_AVAILABLE", Kind: cli.ErrVirtual, Fix: fixVirtual},
			{Text: "VERR_DISK_FULL", Kind: cli.ErrNoSpace, Fix: fixSpace},
			{Text: "No space left on device", Kind: cli.ErrNoSpace, Fix: fixSpace},
			{Text: "VERR_NO_MEMORY", Kind: cli.ErrNoMemory},
			{Text: "OUT_OF_MEMORY", Kind: cli.ErrNoMemory},
			{Text: "Failed to create the VirtualBox object", Kind: cli.ErrDaemon, Fix: fixService},
			{Text: "Failed to initialize COM", Kind: cli.ErrDaemon, Fix: fixService},
			{Text: "NS_ERROR_CALL_FAILED", Kind: cli.ErrDaemon, Fix: fixService},
			{Text: "0x800706ba", Kind: cli.ErrDaemon, Fix: fixService},
			{Text: "VBOX_E_OBJECT_IN_USE", Kind: errInUse},
			{Text: "VBOX_E_INVALID_OBJECT_STATE", Kind: errLocked},
			{Text: "already locked", Kind: errLocked},
			{Text: "execution service is not ready", Kind: cli.ErrNoTools, Fix: fixTools},
			{Text: "not able to logon", Kind: cli.ErrNoTools, Fix: fixTools},
			{Text: "VERR_ALREADY_EXISTS", Kind: fs.ErrExist},
			{Text: "already exists", Kind: fs.ErrExist},
			{Text: "VBOX_E_OBJECT_NOT_FOUND", Kind: fs.ErrNotExist},
			{Text: "VERR_FILE_NOT_FOUND", Kind: fs.ErrNotExist},
			{Text: "VERR_PATH_NOT_FOUND", Kind: fs.ErrNotExist},
			{Text: "VBOX_E_INVALID_VM_STATE", Kind: cli.ErrState},
			{Text: "is not currently running", Kind: cli.ErrState},
			{Text: "is not running (currently", Kind: cli.ErrState},
			{Text: "terminated unexpectedly during startup", Kind: cli.ErrFailed, Fix: fixModule},
			{Text: "E_ACCESSDENIED", Kind: fs.ErrPermission},
			{Text: "VERR_ACCESS_DENIED", Kind: fs.ErrPermission},
			{Text: ": error:", Kind: cli.ErrFailed},
		},
	}
	for i := range t.Errors {
		t.Errors[i].Always = true
	}
	return t
}

// installFix is the command that installs VirtualBox.
func installFix() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install --cask virtualbox"
	case "windows":
		return "winget install Oracle.VirtualBox"
	}
	return "apt-get install virtualbox"
}

// run runs VBoxManage. What another session has locked for a moment, as it does
// after a machine was switched off, is tried again.
func (d *driver) run(ctx context.Context, args ...string) (cli.Result, error) {
	var r cli.Result
	ctx, cancel := context.WithTimeoutCause(ctx, lockLimit, fmt.Errorf("%s: %w for %v", args[0], errLocked, lockLimit))
	defer cancel()
	err := cli.Until(ctx, args[0], func(ctx context.Context) (bool, error, error) {
		var err error
		if r, err = d.manage.Run(ctx, args...); errors.Is(err, errLocked) {
			return false, err, nil
		}
		return err == nil, nil, err
	})
	return r, err
}

// A version is VirtualBox's own.
type version struct {
	cli.Version
	text string // "7.2.22"
}

// version asks for the version. Serial ports that are sockets, and that change
// while memory is saved, need 6.0.
func (d *driver) version(ctx context.Context) (version, error) {
	r, err := d.manage.Run(ctx, "--version")
	if err != nil {
		return version{}, err
	}
	v, written, err := cli.FindVersion(r.Text())
	if err == nil && !v.AtLeast(6, 0) {
		err = fmt.Errorf("got VirtualBox %s, want 6.0 or newer", written)
	}
	// 7.2.22_Debianr175245
	number := written[:len(written)-len(strings.TrimLeft(written, "0123456789."))]
	return version{v, number}, err
}

// canStart asks whether machines can run at all. Elsewhere than on Linux the
// system's own hypervisor may lend a hand, whatever this says.
func (d *driver) canStart(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	r, err := d.manage.Run(ctx, "list", "hostinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(r.Stdout), "Processor supports HW virtualization: no") {
		return &cli.Error{Tool: "VBoxManage", Kind: cli.ErrVirtual, Fix: fixVirtual + "; or " + fixModule}
	}
	return nil
}

// A listed machine is a line of VirtualBox's list.
type listed struct{ name, id string }

var listedLine = regexp.MustCompile(`(?m)^"(.*)" \{([0-9a-fA-F-]{36})\}\r?$`)

// list returns the registered machines. One whose files are damaged has no name.
func (d *driver) list(ctx context.Context) ([]listed, error) {
	r, err := d.manage.Run(ctx, "list", "vms")
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, m := range listedLine.FindAllStringSubmatch(string(r.Stdout), -1) {
		all = append(all, listed{m[1], m[2]})
	}
	return all, nil
}
