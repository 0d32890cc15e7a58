package seed

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

func TestNamesAreLongAndThereIsALabel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "seed.iso")
	opt := Options{Agent: bytes.Repeat([]byte("A"), 3<<20), ID: "id-1", SSHKey: "ssh-ed25519 AAAA x"}
	for range 2 { // what is there is replaced
		if err := Write(name, opt); err != nil {
			t.Fatal(err)
		}
	}
	disk, err := file.OpenFromPath(name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	iso, err := iso9660.Read(disk, info.Size(), 0, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(iso.Label()); got != "cidata" {
		t.Errorf("label: got %q, want cidata", got)
	}
	for _, f := range content(t, opt) {
		r, err := iso.OpenFile(f.Name, os.O_RDONLY)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s: got %d bytes, %v, want %d", f.Name, len(got), err, len(f.Data))
		}
	}
}

func content(t *testing.T, o Options) []File {
	t.Helper()
	files, err := Content(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// text returns a file of a disk, and whether it is there.
func text(files []File, name string) (string, bool) {
	i := slices.IndexFunc(files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return "", false
	}
	return string(files[i].Data), true
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ line, start, settings string }{
		{"", "ExecStart=/usr/lib/assay/assay-agent\n", "hostname=assay\nmodules='virtio_console'\ntty=\n"},
		{"serial:/dev/ttyS1", "ExecStart=/usr/lib/assay/assay-agent port /dev/ttyS1\n", "hostname=assay\nmodules=''\ntty=ttyS1\n"},
		{"vsock:1024", "ExecStart=/usr/lib/assay/assay-agent vsock 1024\n", "hostname=assay\nmodules='vsock hv_sock vmw_vsock_virtio_transport vmw_vsock_vmci_transport'\ntty=\n"},
		{"stdio", "", "hostname=assay\nmodules=''\ntty=\n"},
	} {
		files := content(t, Options{Line: c.line})
		unit, served := text(files, "assay-agent.service")
		if settings, _ := text(files, "settings"); !strings.Contains(unit, c.start) || served != (c.start != "") || settings != c.settings {
			t.Errorf("%q: got unit %q and settings %q, want %q and %q", c.line, unit, settings, c.start, c.settings)
		}
	}
}

// What comes from elsewhere ends up in a shell script and in YAML.
func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"a line of words":    {Line: "serial:/dev/ttyS1 x"},
		"a line elsewhere":   {Line: "serial:/etc/passwd"},
		"a line that is not": {Line: "carrier-pigeon"},
		"port 0":             {Line: "vsock:0"},
		"a large port":       {Line: "vsock:4294967296"},
		"a hostname":         {Hostname: "a'b"},
		"a capital":          {Hostname: "Assay"},
		"an id":              {ID: "a: b"},
		"a key":              {SSHKey: "a\nb"},
		"a password":         {Password: "a\nroot:b"},
	} {
		if _, err := Content(o); err == nil {
			t.Errorf("%s: got no error for %+v", name, o)
		}
	}
}
