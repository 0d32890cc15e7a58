// Package seed makes the disk from which a cloud image takes the agent: an ISO
// 9660 file system in cloud-init's NoCloud form.
//
// It knows cloud-init, and where the agent, its unit and the test user are in a
// guest. It knows no image and no hypervisor.
package seed

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Where the agent and its unit are in a guest.
const (
	AgentPath = "/usr/lib/assay/assay-agent"
	UnitPath  = "/etc/systemd/system/assay-agent.service"
)

// Options says what a seed disk brings.
type Options struct {
	Agent    []byte // the agent's program, for the guest's processor
	ID       string // of the machine: equal ids are one machine to cloud-init, which does most of its work once for each
	Hostname string // default: assay

	// Line is where the agent serves: "" the virtio-serial port assay.0,
	// "serial:/dev/ttyS1" a serial port that nothing else uses, "vsock:1024" a
	// port of AF_VSOCK, "stdio" nowhere: the driver starts AgentPath stdio itself.
	Line string

	SSHKey   string // a line of authorized_keys, for the user tester; empty: none
	Password string // of the user tester; empty: none fits
}

//go:embed files
var files embed.FS

// A File is one file of a seed disk.
type File struct {
	Name string
	Data []byte
}

var (
	hostname   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	identifier = regexp.MustCompile(`^[A-Za-z0-9._-]{0,100}$`)
	serialPath = regexp.MustCompile(`^/dev/([A-Za-z0-9]{1,32})$`)
)

// check returns an error that says which option is wrong.
func (o *Options) check() error {
	if o.Hostname == "" {
		o.Hostname = "assay"
	}
	switch {
	case !hostname.MatchString(o.Hostname):
		return fmt.Errorf("hostname: got %q, want lower-case letters, digits and dashes", o.Hostname)
	case !identifier.MatchString(o.ID):
		return fmt.Errorf("id: got %q, want letters, digits, dots, dashes and underscores", o.ID)
	case strings.ContainsAny(o.SSHKey, "\r\n\x00"):
		return fmt.Errorf("ssh key: got %q, want one line", o.SSHKey)
	case strings.ContainsAny(o.Password, "\r\n\x00"):
		return errors.New("password: got several lines, want one")
	}
	return nil
}

// Content returns the files of a seed disk. They depend on the options only.
func Content(o Options) ([]File, error) {
	l, err := parseLine(o.Line)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, fmt.Errorf("seed disk: %w", err)
	}
	content := []File{
		// Local mode: the agent is put in before anything waits for a network.
		{"meta-data", fmt.Appendf(nil, "instance-id: %s\nlocal-hostname: %s\ndsmode: local\n", o.ID, o.Hostname)},
		{"assay-agent", o.Agent},
		{"settings", fmt.Appendf(nil, "hostname=%s\nmodules='%s'\ntty=%s\n", o.Hostname, l.modules, l.tty)},
	}
	// Without a network-config cloud-init asks for an address on the first card.
	for _, name := range []string{"user-data", "install.sh", "account.sh"} {
		content = append(content, File{name, mustRead(name)})
	}
	if o.SSHKey != "" {
		content = append(content, File{"authorized_keys", []byte(o.SSHKey + "\n")})
	}
	if o.Password != "" {
		content = append(content, File{"password", []byte("tester:" + o.Password + "\n")})
	}
	if l.served {
		content = append(content, File{filepath.Base(UnitPath), unit(l.args)})
	}
	return content, nil
}

// Account returns the shell script that makes the test user. It notes what it
// made in the file entered beside AgentPath, a word a line: account, sudoers.d
// (the folder), sudoers (the user's file there).
func Account() string { return string(mustRead("account.sh")) }

// Unit returns the systemd unit of an agent that serves virtio-serial.
func Unit() []byte { return unit("") }

// unit is the agent's unit with arguments.
func unit(args string) []byte {
	start := "ExecStart=" + AgentPath
	return []byte(strings.Replace(string(mustRead("assay-agent.service")), start, strings.TrimSpace(start+" "+args), 1))
}

// A line is what Options.Line means.
type line struct {
	args    string // of the agent
	modules string // that the kernel may need for it
	tty     string // a terminal that nobody may log in on
	served  bool   // the agent is a service
}

func parseLine(s string) (line, error) {
	kind, where, _ := strings.Cut(s, ":")
	switch kind {
	case "":
		return line{modules: "virtio_console", served: true}, nil
	case "stdio":
		return line{}, nil
	case "serial":
		if m := serialPath.FindStringSubmatch(where); m != nil {
			return line{args: "port " + where, tty: m[1], served: true}, nil
		}
	case "vsock":
		if port, err := strconv.ParseUint(where, 10, 32); err == nil && port > 0 {
			return line{args: "vsock " + where, modules: "vsock hv_sock vmw_vsock_virtio_transport vmw_vsock_vmci_transport", served: true}, nil
		}
	}
	return line{}, fmt.Errorf("line: got %q, want nothing, serial:/dev/NAME, vsock:PORT or stdio", s)
}

// mustRead reads a file that is part of the program.
func mustRead(name string) []byte {
	data, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err)
	}
	return data
}

// Write makes a seed disk at path, with the label cidata, under which cloud-init
// looks for it. Whatever was at path is gone.
func Write(path string, o Options) error {
	content, err := Content(o)
	if err != nil {
		return err
	}
	if err := writeISO(path, content); err != nil {
		return fmt.Errorf("seed disk: %w", err)
	}
	return nil
}

// sector is the unit of a CD, in bytes.
const sector = 2048

func writeISO(path string, content []File) error {
	size := int64(1 << 20)
	for _, f := range content {
		size += int64(len(f.Data))
	}
	size = (size + sector - 1) / sector * sector // VirtualBox takes no other
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	disk, err := file.CreateFromPath(path, size)
	if err != nil {
		return err
	}
	defer disk.Close()
	work, err := os.MkdirTemp(filepath.Dir(path), "seed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	iso, err := iso9660.Create(disk, size, 0, sector, work)
	if err != nil {
		return err
	}
	for _, f := range content {
		if err := add(iso, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	// Without Rock Ridge the names would be cut to eight capitals.
	return iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: fmt.Sprintf("%-32s", "cidata")})
}

func add(iso *iso9660.FileSystem, f File) error {
	w, err := iso.OpenFile(f.Name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = w.Write(f.Data)
	return err
}
