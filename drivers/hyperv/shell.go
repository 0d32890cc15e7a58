package hyperv

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode/utf16"

	"assay/drivers/internal/cli"
)

//go:embed script
var scripts embed.FS

// answerLimit is how long a script may take that says nothing else. Loading the
// module alone takes seconds on a busy host.
const answerLimit = 3 * time.Minute

// powershell is the command that runs the scripts. It is Windows' own, which
// every Windows has; $ASSAY_POWERSHELL may name pwsh.
func powershell() *cli.Tool {
	return &cli.Tool{
		Driver: name, Name: "powershell", Systems: systems, Errors: complaints, Limit: answerLimit, Fix: enableHyperV,
		Args: []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-OutputFormat", "Text", "-ExecutionPolicy", "Bypass"},
	}
}

// What to do about what is missing.
const (
	enableHyperV = "Enable-WindowsOptionalFeature -Online -FeatureName Microsoft-Hyper-V -All"
	startService = "Start-Service vmms"
	joinGroup    = `net localgroup "Hyper-V Administrators" "%USERNAME%" /add`
	makeSwitch   = "New-VMSwitch -Name external -NetAdapterName NAME"
)

// complaints say what the scripts' errors mean. The words are the scripts' own,
// or ids and codes of Windows, which are the same in every language.
var complaints = []cli.Pattern{
	{Text: "assay-error module |", Kind: cli.ErrNotInstalled, Fix: enableHyperV},
	{Text: "assay-error service |", Kind: cli.ErrDaemon, Fix: startService},
	{Text: "assay-error rights |", Kind: fs.ErrPermission, Fix: joinGroup},
	{Text: "assay-error missing |", Kind: fs.ErrNotExist},
	{Text: "assay-error taken |", Kind: fs.ErrExist},
	{Text: "assay-error state |", Kind: cli.ErrState},
	{Text: "assay-error switch |", Kind: cli.ErrNetwork, Fix: makeSwitch},
	{Text: "CommandNotFoundException", Kind: cli.ErrNotInstalled, Fix: enableHyperV},
	{Text: "0x80070070", Kind: cli.ErrNoSpace},
	{Text: "0x8007000E", Kind: cli.ErrNoMemory},
	{Text: "0x800705AA", Kind: cli.ErrNoMemory},
	{Text: "0x80070050", Kind: fs.ErrExist},
	{Text: "0x80070005", Kind: fs.ErrPermission, Fix: joinGroup},
	{Text: "0xC0351000", Kind: cli.ErrVirtual, Fix: "bcdedit /set hypervisorlaunchtype auto"},
	{Text: "InvalidState,", Kind: cli.ErrState},
}

// answerMark begins the line with a script's answer, in base64.
const answerMark = "assay-answer "

// ask runs a script with an input that becomes its $in, and decodes its answer.
// A script that ends without an answer has failed, whatever its exit code.
func (d *driver) ask(ctx context.Context, verb string, in, out any) error {
	return d.askFor(ctx, 0, verb, in, out)
}

// askFor is ask with another limit.
func (d *driver) askFor(ctx context.Context, limit time.Duration, verb string, in, out any) error {
	text, err := script(verb, in)
	if err != nil {
		return err
	}
	r, err := d.shell.Do(ctx, cli.Call{Args: []string{"-EncodedCommand", encode(text)}, Limit: limit})
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	answer, err := findAnswer(r.Stdout)
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		return fmt.Errorf("%s: powershell: %w", verb, err)
	}
	return nil
}

// script returns the whole text of a verb's script. The input goes in as base64:
// no name can end a quotation.
func script(verb string, in any) (string, error) {
	if in == nil {
		in = struct{}{}
	}
	input, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	frame, err := scripts.ReadFile("script/frame.ps1")
	if err != nil {
		return "", err
	}
	body, err := scripts.ReadFile("script/" + verb + ".ps1")
	if err != nil {
		return "", err
	}
	text := strings.Replace(string(frame), "INPUT", base64.StdEncoding.EncodeToString(input), 1)
	return "# assay " + verb + "\n" + strings.Replace(text, "BODY\n", string(body), 1), nil
}

// encode is what -EncodedCommand wants.
func encode(text string) string {
	var b bytes.Buffer
	for _, unit := range utf16.Encode([]rune(text)) {
		_ = binary.Write(&b, binary.LittleEndian, unit) // a buffer takes everything
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// maxAnswer bounds a line of a script's output.
const maxAnswer = 32 << 20

// findAnswer looks for the line with the answer: a profile, a banner or a warning
// may have said something before.
func findAnswer(stdout []byte) ([]byte, error) {
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), answerMark); ok {
			return base64.StdEncoding.DecodeString(text)
		}
	}
	return nil, fmt.Errorf("got %.200q, want a line that begins with %q", bytes.TrimSpace(stdout), answerMark)
}
