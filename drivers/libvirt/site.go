package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// pool is where libvirt's own QEMU user may go on every distribution. Machines
// of root's live there: root's folders are closed to that user.
const pool = "/var/lib/libvirt/images"

// A site is a host with libvirt on it, ours or another one, as one connection
// shows it. Its fields do not change.
type site struct {
	uri     string
	virsh   *cli.Tool
	shell   *cli.Tool // runs sh there
	remote  bool
	session bool // not the system's libvirt, but a user's
	version string
	accel   string
	detail  string // why this accelerator

	uid, gid int    // whose process QEMU is, and who owns the files it needs
	label    string // those two as libvirt writes them; empty: libvirt has no choice
	relabel  bool   // libvirt makes its sockets that user's
	pool     string // the folder into which libvirt's own QEMU user may go
	base     string // where machines live that cannot live in their spec's folder; empty: all can
	logs     string // where libvirt leaves QEMU's logs
}

// connect asks libvirt and the host it runs on who and what they are.
func connect(ctx context.Context, uri, pool string) (*site, error) {
	s := &site{uri: uri, virsh: virsh(uri), pool: pool}
	if err := s.address(uri); err != nil {
		return nil, err
	}
	if _, err := s.virsh.Path(); err != nil {
		return nil, s.virsh.Unavailable(err)
	}
	r, err := s.virsh.Run(ctx, "version")
	if err != nil {
		return nil, s.unreachable(err)
	}
	if s.version, err = parseVersion(r.Text()); err != nil {
		return nil, unavailable(err.Error(), "")
	}
	if err := s.whose(ctx); err != nil {
		return nil, fmt.Errorf("libvirt: %s: %w", uri, err)
	}
	return s, nil
}

// unreachable says why libvirt does not answer and, if it is another host's, where.
func (s *site) unreachable(err error) error {
	err = s.virsh.Unavailable(err)
	if gone := (*vm.UnavailableError)(nil); s.remote && errors.As(err, &gone) {
		gone.Reason = s.uri + ": " + gone.Reason
	}
	return err
}

func unavailable(reason, fix string) error {
	return &vm.UnavailableError{Driver: "libvirt", Reason: reason, Fix: fix}
}

// address reads where a URI leads, and how a shell gets there.
func (s *site) address(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return unavailable(err.Error(), "")
	}
	if u.Path != "/system" && u.Path != "/session" {
		return unavailable(fmt.Sprintf("got %q, want QEMU's libvirt", uri), "export ASSAY_LIBVIRT_URI=qemu:///system")
	}
	s.session = u.Path == "/session"
	switch u.Scheme {
	case "qemu", "qemu+unix":
		s.shell = &cli.Tool{Driver: "libvirt", Name: "sh"}
		if u.Host != "" && u.Scheme == "qemu" {
			return unavailable(fmt.Sprintf("got %q: over TLS assay cannot put a disk there", uri), "export ASSAY_LIBVIRT_URI=qemu+ssh://"+u.Host+u.Path)
		}
	case "qemu+ssh":
		s.remote = true
		s.shell = ssh(u)
	default:
		return unavailable(fmt.Sprintf("got %q, want qemu:///… or qemu+ssh://…", uri), "export ASSAY_LIBVIRT_URI=qemu:///system")
	}
	return nil
}

// ssh is the command that reaches the host of a URI, with what libvirt's own
// transport makes of its parameters.
func ssh(u *url.URL) *cli.Tool {
	t := &cli.Tool{Driver: "libvirt", Name: "ssh", Fix: "apt-get install openssh-client", Errors: complaints}
	q := u.Query()
	t.Args = []string{"-T", "-o", "BatchMode=yes"}
	if command := q.Get("command"); command != "" {
		t.Name = command
	}
	if key := q.Get("keyfile"); key != "" {
		t.Args = append(t.Args, "-i", key)
	}
	if q.Get("no_verify") == "1" {
		t.Args = append(t.Args, "-o", "StrictHostKeyChecking=no")
	}
	if port := u.Port(); port != "" {
		t.Args = append(t.Args, "-p", port)
	}
	if user := u.User.Username(); user != "" {
		t.Args = append(t.Args, "-l", user)
	}
	t.Args = append(t.Args, "--", u.Hostname())
	return t
}

// sh runs a script where QEMU runs and returns what it printed. Its arguments
// are $1, $2 …
func (s *site) sh(ctx context.Context, stdin io.Reader, script string, args ...string) (string, error) {
	argv := append([]string{"-c", script, "sh"}, args...)
	if s.remote {
		for i, a := range argv {
			argv[i] = quote(a)
		}
		argv = append([]string{"sh"}, argv...)
	}
	r, err := s.shell.Do(ctx, cli.Call{Args: argv, Stdin: stdin})
	var failed *cli.Error
	if errors.As(err, &failed) {
		failed.Args = nil // the script says nothing to a user
	}
	return r.Text(), err
}

// quote makes a word of a shell's of any string.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

var (
	libraryLine = regexp.MustCompile(`(?m)^Using library: libvirt (\S+)`)
	runningLine = regexp.MustCompile(`(?m)^Running hypervisor: QEMU (\S+)`)
)

// parseVersion reads what virsh version prints.
func parseVersion(out string) (string, error) {
	library, running := libraryLine.FindStringSubmatch(out), runningLine.FindStringSubmatch(out)
	if library == nil || running == nil {
		return "", fmt.Errorf("virsh version: got %.200q, want libvirt's and QEMU's", out)
	}
	return fmt.Sprintf("libvirt %s, QEMU %s", library[1], running[1]), nil
}

// whose decides whose process QEMU shall be, and so where its files can lie. A
// user's session, and a user who may use the system's libvirt, have QEMU run as
// themselves: it then sees exactly what they see. Root has it run as the user
// that libvirt keeps for this, who sees little.
func (s *site) whose(ctx context.Context) error {
	out, err := s.sh(ctx, nil, `id -u; id -g; echo "${XDG_CACHE_HOME:-$HOME/.cache}"; echo "$HOME"`)
	if err != nil {
		return err
	}
	lines := strings.Split(out, "\n")
	if len(lines) != 4 {
		return fmt.Errorf("id: got %.200q, want four lines", out)
	}
	if s.uid, err = strconv.Atoi(lines[0]); err != nil {
		return err
	}
	if s.gid, err = strconv.Atoi(lines[1]); err != nil {
		return err
	}
	if s.remote {
		s.base = lines[3] + "/.local/share/assay/libvirt"
	}
	if s.session {
		s.logs = lines[2] + "/libvirt/qemu/log"
		return nil
	}
	s.logs = "/var/log/libvirt/qemu"
	s.relabel = s.uid != 0
	if s.uid == 0 {
		s.base = s.pool
		err = s.ownUser(ctx)
	}
	s.label = fmt.Sprintf("+%d:+%d", s.uid, s.gid)
	return err
}

// ownUser finds the user that libvirt keeps for QEMU.
func (s *site) ownUser(ctx context.Context) error {
	r, err := s.virsh.Run(ctx, "capabilities")
	if err != nil {
		return err
	}
	var caps struct {
		Models []struct {
			Model  string   `xml:"model"`
			Labels []string `xml:"baselabel"`
		} `xml:"host>secmodel"`
	}
	if err := xml.Unmarshal(r.Stdout, &caps); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for _, m := range caps.Models {
		if m.Model == "dac" && len(m.Labels) > 0 {
			if _, err := fmt.Sscanf(m.Labels[0], "+%d:+%d", &s.uid, &s.gid); err != nil {
				return fmt.Errorf("capabilities: got the label %.40q: %w", m.Labels[0], err)
			}
		}
	}
	return nil
}

// fits checks what spec asks of the host before anything starts.
func (s *site) fits(ctx context.Context, spec vm.Spec) error {
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return err
	}
	if !s.remote {
		if s.base != "" {
			spec.Dir = s.base
		}
		return cli.Fits(spec)
	}
	r, err := s.virsh.Run(ctx, "nodeinfo")
	if err != nil {
		return err
	}
	free, err := s.sh(ctx, nil, `mkdir -p "$1" && df -Pk "$1" | awk 'NR == 2 { print $4 }'`, s.base)
	if err != nil {
		return err
	}
	disk, err := strconv.ParseInt(free, 10, 64)
	if err != nil {
		return fmt.Errorf("df: %w", err)
	}
	node := fields(r.Text())
	memory := node["Memory size"] << 10
	switch {
	case int64(spec.CPUs) > node["CPU(s)"]:
		return &vm.ResourceError{What: "cpus", Got: strconv.Itoa(spec.CPUs), Has: fmt.Sprint(node["CPU(s)"])}
	case spec.Memory > memory:
		return &vm.ResourceError{What: "memory", Got: cli.Bytes(spec.Memory), Has: cli.Bytes(memory)}
	case spec.Disk > disk<<10:
		return &vm.ResourceError{What: "disk", Got: cli.Bytes(spec.Disk), Has: cli.Bytes(disk<<10) + " free"}
	}
	return nil
}

// fields reads lines such as "Memory size:  123 KiB"; what has no number is 0.
func fields(out string) map[string]int64 {
	all := map[string]int64{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, ":")
		var n int64
		fmt.Sscan(value, &n)
		all[strings.TrimSpace(name)] = n
	}
	return all
}

// hardware is the machine that spec asks for, on an image whose files exist.
func (s *site) hardware(spec vm.Spec) (hardware, error) {
	hw := hardware{
		CPUs: spec.CPUs, Memory: cli.MiB(spec.Memory), Size: max(spec.Disk, spec.Image.Size),
		Network: spec.Network.Mode, Image: spec.Image, MAC: newMAC(),
	}
	if err := cli.AllOrNothing("libvirt", spec.Network); err != nil {
		return hw, err
	}
	img := &hw.Image
	switch {
	case hw.CPUs < 1:
		return hw, fmt.Errorf("cpus: got %d, want at least 1", hw.CPUs)
	case hw.Memory < 64:
		return hw, fmt.Errorf("memory: got %d MiB, want at least 64 MiB", hw.Memory)
	case img.Arch != "" && img.Arch != "amd64":
		return hw, &vm.UnsupportedError{Machine: "libvirt", Want: "image " + img.Name + " for " + img.Arch, Instead: "use an image for amd64"}
	case img.Format != "qcow2" && img.Format != "raw":
		return hw, fmt.Errorf("image %s: got format %q, want qcow2 or raw", img.Name, img.Format)
	case img.Disk == "" || hw.Size <= 0:
		return hw, fmt.Errorf("image %s: got disk %q of %d bytes, want a file and its size", img.Name, img.Disk, hw.Size)
	}
	return hw, hw.files()
}

// files makes the image's paths absolute and checks that they can be opened.
func (hw *hardware) files() error {
	img := &hw.Image
	for _, path := range []*string{&img.Disk, &img.Kernel, &img.Initrd, &img.Seed} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		f, err := os.Open(abs)
		if err != nil {
			return fmt.Errorf("image %s: %w", img.Name, err)
		}
		f.Close()
		*path = abs
	}
	return nil
}
