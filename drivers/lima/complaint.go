package lima

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"assay/drivers/internal/cli"
)

var (
	// errBoot is what Lima says of a guest that does not come up.
	errBoot = errors.New("the guest did not come up")
	errRoot = errors.New("Lima does not run as root") //nolint:staticcheck // a name
)

const listTemplates = "limactl create --list-templates lists the templates that there are"

// complaints are what the command says when it fails. Names stand in quotes that
// differ from version to version.
var complaints = []cli.Pattern{
	{Text: "must not run as the root user", Kind: errRoot, Fix: "sudo -u USER assay doctor"},
	{Text: "Ignoring non-existent instance", Kind: fs.ErrNotExist, Always: true},
	{Text: "already exists", Kind: fs.ErrExist},
	{Text: "does not exist in one or more devices", Kind: fs.ErrNotExist, Always: true},
	{Text: "output: Error", Kind: cli.ErrFailed, Always: true}, // of QEMU's monitor, after which Lima is content
	{Text: "No space left on device", Kind: cli.ErrNoSpace},
	{Text: "Cannot allocate memory", Kind: cli.ErrNoMemory},
	{Text: "did not receive an event", Kind: errBoot},
	{Text: "degraded, status=", Kind: errBoot},
	{Text: "exiting, status=", Kind: cli.ErrFailed},
	{Text: "does not exist, run", Kind: fs.ErrNotExist},
	{Text: "lima.yaml: no such file", Kind: fs.ErrNotExist},
	{Text: ".yaml` not found", Kind: fs.ErrNotExist, Fix: listTemplates},
	{Text: `.yaml\" not found`, Kind: fs.ErrNotExist, Fix: listTemplates},
	{Text: "` not found", Kind: fs.ErrNotExist},
	{Text: `\" not found`, Kind: fs.ErrNotExist},
	{Text: "is stopped, run", Kind: cli.ErrState},
	{Text: "expected status", Kind: cli.ErrState},
	{Text: "a running instance", Kind: cli.ErrState},
	{Text: "unimplemented", Kind: errors.ErrUnsupported},
	{Text: "instance is protected", Kind: fs.ErrPermission, Fix: "limactl unprotect NAME"},
	{Text: "failed to download", Kind: cli.ErrNetwork, Fix: "try again when the network is up"},
}

// shellComplaints are the command's own, and ssh's, when it runs something in a
// guest: all else on that standard error may be the guest's.
var shellComplaints = []cli.Pattern{
	{Text: "level=fatal", Kind: cli.ErrState},
	{Text: "ssh: connect to host", Kind: cli.ErrNoTools},
	{Text: "kex_exchange_identification", Kind: cli.ErrNoTools},
	{Text: "mux_client_request_session", Kind: cli.ErrNoTools},
}

// do makes a call about machines. Its error has Lima's words, without the log
// around them.
func (d *driver) do(ctx context.Context, c cli.Call) (cli.Result, error) {
	r, err := d.tool.Do(ctx, c)
	if e := (*cli.Error)(nil); errors.As(err, &e) {
		e.Said = words(e.Said)
	}
	return r, err
}

func (d *driver) run(ctx context.Context, args ...string) (cli.Result, error) {
	return d.do(ctx, cli.Call{Args: args})
}

// logLine is a line of Lima's log that matters to whoever reads of a failure.
var logLine = regexp.MustCompile(`level=(?:fatal|error|warning) msg=("(?:[^"\\]|\\.)*"|\S+)`)

// words returns the messages of a log, or the text itself if it is none.
func words(log string) string {
	var said []string
	for _, m := range logLine.FindAllStringSubmatch(log, -1) {
		text, err := strconv.Unquote(m[1])
		if err != nil {
			text = m[1]
		}
		if !strings.HasSuffix(text, "is experimental") {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		return log
	}
	return strings.Join(said, "; ")
}
