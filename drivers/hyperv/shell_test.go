package hyperv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// maxCommand is how long a command line may be on Windows.
const maxCommand = 32767

// TestScripts proves of each script that it fits a command line whatever its
// input, that no input can break out of it, and that it calls Hyper-V's cmdlets
// and not those of another module with the same names.
func TestScripts(t *testing.T) {
	cmdlet := regexp.MustCompile(`(Hyper-V\\)?\b[A-Z][a-z]+-(VM|VHD)[A-Za-z]*\b`)
	comment := regexp.MustCompile(`(?m)^\s*#.*$`)
	evil := map[string]string{"name": "'; Remove-Item C:\\ -Recurse; '\u2019\u201c$(x)`n\r\n INPUT BODY", "folder": strings.Repeat("ü", 1000)}
	for verb := range verbs {
		text, err := script(verb, evil)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(encode(text)) + 200; n > maxCommand {
			t.Errorf("%s: got a command line of %d characters, want at most %d", verb, n, maxCommand)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r > '~' }); i >= 0 || strings.Contains(text, "Remove-Item C:") {
			t.Errorf("%s: the input, or a character that is not ASCII, is in the script", verb)
		}
		for _, m := range cmdlet.FindAllStringSubmatch(comment.ReplaceAllString(text, ""), -1) {
			if m[1] == "" {
				t.Errorf("%s: calls %s, want Hyper-V\\%s", verb, m[0], m[0])
			}
		}
		back, err := decode(encode(text))
		if err != nil || back != text {
			t.Errorf("%s: the encoded script is another", verb)
		}
	}
	entries, err := scripts.ReadDir("script")
	if err != nil || len(entries) != len(verbs)+1 {
		t.Errorf("got %d scripts, %v; want those that the stand-in knows and the frame", len(entries), err)
	}
}

// An answer is found among what a profile or a module prints.
func TestAnswersAreFound(t *testing.T) {
	for said, want := range map[string]string{
		"assay-answer eyJhIjoxfQ==\r\n":                                  `{"a":1}`,
		"\ufeffBanner\r\nassay-answer eyJhIjoxfQ==\r\nWARNING: late\r\n": `{"a":1}`,
		"":                         "",
		"assay-answer !!!":         "",
		"eyJhIjoxfQ==":             "",
		"xassay-answer eyJhIjoxfQ": "",
	} {
		if got, err := findAnswer([]byte(said)); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", said, got, err, want)
		}
	}
}

// QEMU reads what Hyper-V is to convert.
func TestFixedVHD(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		drivertest.Skip(t, "tools", err.Error())
	}
	img := cloudImage(t)
	path := filepath.Join(t.TempDir(), "disk.vhd")
	if err := writeFixed(t.Context(), img, path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "info", "-f", "vpc", "--output=json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal(out, &info); err != nil || info.Size != img.Size {
		t.Errorf("got a disk of %d bytes, %v; want %d", info.Size, err, img.Size)
	}
	if out, err := exec.Command(tool, "compare", "-f", "raw", "-F", "vpc", img.Disk, path).CombinedOutput(); err != nil {
		t.Errorf("the disk is another: %v: %s", err, out)
	}
}

// The geometry's rule, by the numbers of the format's own text.
func TestGeometry(t *testing.T) {
	for total, want := range map[int64][3]int64{
		0: {0, 4, 17}, 8192: {120, 4, 17}, 4 << 20: {4161, 16, 63}, 65535 * 16 * 255: {65535, 16, 255}, 1 << 40: {65535, 16, 255},
	} {
		c, h, s := geometry(total)
		if got := [3]int64{c, h, s}; got != want {
			t.Errorf("%d sectors: got %v, want %v", total, got, want)
		}
	}
}

func TestPicture(t *testing.T) {
	data, err := picture([]byte{0x00, 0xf8, 0xe0, 0x07, 0x1f, 0x00, 0xff, 0xff}, 2, 2) // red, green, blue, white
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for _, at := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
		r, g, b, _ := img.At(at[0], at[1]).RGBA()
		got += fmt.Sprintf("%02x%02x%02x ", r>>8, g>>8, b>>8)
	}
	if got != "f80000 00fc00 0000f8 f8fcf8 " {
		t.Errorf("got %s, want red, green, blue and white", got)
	}
	if _, err := picture([]byte{1}, 2, 2); err == nil {
		t.Error("a picture of one byte: got no error")
	}
}

func spec(t *testing.T, name string) vm.Spec {
	return vm.Spec{Name: name, Owner: "me", Dir: t.TempDir(), Image: cloudImage(t), CPUs: 1, Memory: 512 << 20, Network: vm.Network{Mode: vm.NetworkNone}}
}

// A PowerShell that hangs is left when the caller has enough, and nothing stays.
func TestHangIsLeft(t *testing.T) {
	d, p, home := standIn(t)
	p.host.Break("hang")
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(time.Second, func() { cancel(enough) })
	if m, err := d.Launch(ctx, spec(t, "one")); !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v, want the end of the context", m, err)
	}
	p.nothingLeft(home)
}

// What goes wrong at a machine that runs is told, and a second machine of a name
// is not made.
func TestTroublesOfAMachine(t *testing.T) {
	d, p, home := standIn(t)
	v, err := d.Launch(t.Context(), spec(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	m := v.(*machine)
	if _, err := d.Launch(t.Context(), spec(t, "one")); !errors.Is(err, os.ErrExist) {
		t.Errorf("the name again: got %v, want fs.ErrExist", err)
	}
	p.host.Break("lost")
	if err := m.Snapshot(t.Context(), "s"); err == nil || !strings.Contains(err.Error(), "there are 0 checkpoints") {
		t.Errorf("a checkpoint that is not there: got %v", err)
	}
	p.host.Break("daemon")
	if err := m.Suspend(t.Context()); !errors.Is(err, cli.ErrDaemon) || !strings.Contains(err.Error(), startService) {
		t.Errorf("without its service: got %v, want cli.ErrDaemon and what to do", err)
	}
	p.host.Break("")
	if err := p.byID(m.id).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Suspend(t.Context()); !errors.Is(err, cli.ErrState) {
		t.Errorf("suspend of what is off: got %v, want cli.ErrState", err)
	}
	if _, err := m.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "shut itself down") {
		t.Errorf("dial of what is off: got %v", err)
	}
	p.byID(m.id).Delete()
	if _, err := m.Dial(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dial of what is gone: got %v, want fs.ErrNotExist", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	p.nothingLeft(home)
}

// A fork that was interrupted has its parent's name in Hyper-V, and goes with it.
func TestSweepTakesHalfAFork(t *testing.T) {
	d, p, home := standIn(t)
	m, err := d.Launch(t.Context(), spec(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	half, err := p.host.Create("half", standin.Size{})
	if err != nil {
		t.Fatal(err)
	}
	set(half, "id", "half")
	set(half, "name", m.ID())
	if n, err := d.Sweep(t.Context(), "me"); n != 1 || err != nil {
		t.Errorf("got %d, %v, want one machine", n, err)
	}
	p.nothingLeft(home)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// The user's word for a machine must mean one.
func TestAdoptOfAmbiguous(t *testing.T) {
	d, p, _ := standIn(t)
	first, _ := p.existing(t)
	second, _ := p.existing(t)
	set(p.host.Guest(second), "name", first)
	id := get[string](p.host.Guest(second), "id")
	if _, err := d.Adopt(t.Context(), first, spec(t, "x")); err == nil || !strings.Contains(err.Error(), "got 2 virtual machines") {
		t.Errorf("got %v, want a word about two", err)
	}
	m, err := d.Adopt(t.Context(), id, spec(t, "y"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// An image without a boot loader, or for another processor, is refused when
// Hyper-V was asked for its version only, once for each.
func TestForeignImages(t *testing.T) {
	d, p, _ := standIn(t)
	kernel, other := spec(t, "k"), spec(t, "o")
	kernel.Image.Kernel = "/vmlinuz"
	other.Image.Arch = "riscv64"
	for _, s := range []vm.Spec{kernel, other} {
		_, err := d.Launch(t.Context(), s)
		if unsupported, ok := errors.AsType[*vm.UnsupportedError](err); !ok || unsupported.Instead == "" {
			t.Errorf("got %v, want a *vm.UnsupportedError that says what to do", err)
		}
	}
	if calls := p.host.Calls(); len(calls) > 2 {
		t.Errorf("got %d calls, want 2", len(calls))
	}
}
