package guest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/guest"
)

var hostKeyTypes = []string{"ecdsa", "ed25519", "rsa"}

// TestHostKeys proves that OpenSSH itself reads the keys, finds each pair
// matching, and that no key is made twice.
func TestHostKeys(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	must(t, err == nil, "ssh-keygen")
	seen := map[string]bool{}
	for range 2 {
		id, err := guest.NewIdentity("one", hostKeyTypes).Identity(t.Context())
		if err != nil || len(id.HostKeys) != len(hostKeyTypes) {
			t.Fatalf("got %d keys, %v; want %d", len(id.HostKeys), err, len(hostKeyTypes))
		}
		for _, key := range id.HostKeys {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, key.Private, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(keygen, "-y", "-P", "", "-f", path).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", key.Type, err, out)
			}
			if got := strings.TrimSpace(string(out)); got != strings.TrimSpace(string(key.Public)) {
				t.Errorf("%s: the private key belongs to\n%s\nwant\n%s", key.Type, got, key.Public)
			}
			if seen[string(key.Public)] {
				t.Errorf("%s: two machines got the same key", key.Type)
			}
			seen[string(key.Public)] = true
		}
	}
}

func TestIdentityIsItsOwn(t *testing.T) {
	one, err := guest.NewIdentity("one", nil).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	two, err := guest.NewIdentity("two", nil).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if one.Hostname != "one" || string(one.Entropy) == string(two.Entropy) || one.MachineID == two.MachineID || one.MAC == two.MAC {
		t.Errorf("got %+v and %+v, want nothing in common", one, two)
	}
	if time.Since(one.Time) > time.Minute || len(one.Entropy) < 64 || len(one.MachineID) != 32 {
		t.Errorf("got %+v, want the time of now, 64 bytes and 32 digits", one)
	}
	if _, err := guest.NewIdentity("one", []string{"dsa"}).Identity(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a type unknown: got %v, want errors.ErrUnsupported", err)
	}
}

func BenchmarkHostKey(b *testing.B) {
	for _, kind := range hostKeyTypes {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				if _, err := guest.NewIdentity("", []string{kind}).Identity(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestReplaceHostKeys proves that keys take the place of those that are there, as
// files of the same mode, and that none is added.
func TestReplaceHostKeys(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/ssh_host_ed25519_key", "old", 0o640)
	write(t, dir+"/ssh_host_ed25519_key.pub", "old", 0o644)
	write(t, dir+"/ssh_host_ecdsa_key", "old", 0o600) // its public half is missing
	if err := os.Symlink("/etc/hostname", dir+"/ssh_host_rsa_key"); err != nil {
		t.Fatal(err)
	}
	if got := guest.HostKeysIn(dir); strings.Join(got, " ") != "ecdsa ed25519" {
		t.Errorf("got types %q, want those of regular files", got)
	}
	id, err := guest.NewIdentity("", []string{"ecdsa", "ed25519"}).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.ReplaceHostKeys(dir, id.HostKeys); err != nil {
		t.Fatal(err)
	}
	for _, key := range id.HostKeys {
		got, err := os.ReadFile(dir + "/ssh_host_" + key.Type + "_key")
		if err != nil || string(got) != string(key.Private) {
			t.Errorf("%s: got %q, %v; want the new key", key.Type, got, err)
		}
	}
	info, err := os.Stat(dir + "/ssh_host_ed25519_key")
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("got mode %v, %v; want 0640 as before", info.Mode(), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 4 {
		t.Errorf("got %v, %v; want the four files and nothing else", names, err)
	}
	for _, bad := range []string{"rsa", "../../../tmp/x"} {
		if err := guest.ReplaceHostKeys(dir, []guest.HostKey{{Type: bad, Private: []byte("x")}}); err == nil {
			t.Errorf("type %s: got no error for a link, or a type unknown", bad)
		}
	}
}
