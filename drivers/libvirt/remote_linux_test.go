package libvirt

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"assay/drivers/drivertest"
	"assay/vm"
)

// serverConfig is of an ssh server that lets one key in, on the loopback device.
const serverConfig = `ListenAddress 127.0.0.1:%[1]d
HostKey %[2]s/host
PidFile %[2]s/pid
AuthorizedKeysFile %[2]s/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
`

// The ssh that libvirt and the driver are told to use: calls share
// one connection, since each would take a second otherwise.
const (
	clientScript = "#!/bin/sh\nexec ssh -F '%s' \"$@\"\n"
	clientConfig = `Host *
	UserKnownHostsFile /dev/null
	StrictHostKeyChecking no
	LogLevel ERROR
	ControlMaster auto
	ControlPath %[1]s/c
	ControlPersist 20
`
)

// serve starts an ssh server of the test's own and returns a URI that leads
// through it to the daemon.
func serve(t *testing.T, dm *daemon) string {
	t.Helper()
	for _, tool := range []string{"/usr/sbin/sshd", "ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			drivertest.Skip(t, "ssh", tool+" is not installed: apt-get install openssh-server openssh-client")
		}
	}
	dir, err := os.MkdirTemp("", "libvirt-ssh-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, key := range []string{"host", "key"} {
		quiet(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port, netcat := freePort(t), filepath.Join(dir, "nc")
	config, client := filepath.Join(dir, "config"), filepath.Join(dir, "ssh")
	err = errors.Join(os.WriteFile(netcat, fmt.Appendf(nil, "#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", netcatEnv, self), 0o700), os.WriteFile(config, fmt.Appendf(nil, serverConfig, port, dir), 0o600), os.WriteFile(client, fmt.Appendf(nil, clientScript, client+".conf"), 0o700),
		os.WriteFile(client+".conf", fmt.Appendf(nil, clientConfig, dir), 0o600), os.MkdirAll("/run/sshd", 0o755))
	if err != nil {
		t.Fatal(err)
	}
	quiet(t, nil, "/usr/sbin/sshd", "-f", config, "-E", filepath.Join(dir, "log"))
	t.Cleanup(func() {
		exec.Command(client, "-O", "exit", "-p", fmt.Sprint(port), "-l", "root", "127.0.0.1").Run() // a master that is gone needs no end
		if err := endDaemon(filepath.Join(dir, "pid"), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("qemu+ssh://root@127.0.0.1:%d/system?socket=%s&netcat=%s&command=%s&keyfile=%s", port, dm.socket(), netcat, client, filepath.Join(dir, "key"))
}

// netcatEnv makes the test binary the nc through which libvirt's ssh transport
// reaches a socket that is not where it usually is: "-U PATH".
const netcatEnv = "ASSAY_TEST_NETCAT"

// beNetcat copies what comes to the socket that is the last argument, and back.
func beNetcat() int {
	conn, err := net.Dial("unix", os.Args[len(os.Args)-1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go io.Copy(conn, os.Stdin)
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		return 1
	}
	return 0
}

func freePort(t *testing.T) int {
	t.Helper()
	for port := 20000; port < 30000; port += 7 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// A libvirt of another host is used over ssh: the image goes there, once, and the
// line and the console come through a tunnel.
func TestRemote(t *testing.T) {
	t.Parallel()
	_, dm := systemDriver(t)
	d := testDriver(t, serve(t, dm))
	d.pool = dm.pool()
	files := filepath.Join(dm.pool(), "assay-files")
	t.Cleanup(func() { os.RemoveAll(files) })
	spec := specOf(t, "far")
	m, err := d.Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := sh(t, talk(t, m), "echo here; id -un"); got != "here\nroot" {
		t.Errorf("got %q, want here and root", got)
	}
	text, err := m.(vm.Consoler).Console()
	if err != nil || !strings.Contains(string(text), "Linux version") {
		t.Errorf("the console: got %d bytes, %v, want the boot's", len(text), err)
	}
	snapshots(t, m)
	fork, err := m.(vm.Forker).Fork(t.Context(), "a", vm.Spec{Name: "fork", Owner: spec.Owner, Dir: filepath.Join(t.TempDir(), "fork")})
	if err != nil {
		t.Fatal(err)
	}
	defer fork.Close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	leftNothing(t, dm, m.(*machine))
	if got := sh(t, talk(t, fork), "cat /run/word"); got != "before" {
		t.Errorf("the fork: got %q, want before", got)
	}
	if sent, err := os.ReadDir(files); err != nil || len(sent) != 3 {
		t.Errorf("at the other host: got %v, %v, want disk, kernel and initrd", sent, err)
	}
	if n, err := d.Sweep(t.Context(), spec.Owner); n != 1 || err != nil {
		t.Errorf("sweep: got %d, %v, want the fork", n, err)
	}
}

// What cannot be reached says why, and what to do.
func TestRemoteThatIsNotThere(t *testing.T) {
	if testing.Short() {
		t.Skip("ssh is slow")
	}
	_, dm := systemDriver(t)
	uri := serve(t, dm)
	// In this order: once one gets in, the others would share its connection.
	for _, tc := range []struct{ name, uri, fix string }{
		{"no key", strings.Replace(uri, "/key", "/host", 1), "ssh-copy-id"},
		{"no server", strings.Replace(uri, "127.0.0.1:2", "127.0.0.1:1", 1), "by hand"},
		{"no libvirt", strings.Replace(uri, "libvirt-sock", "nothing", 1), "libvirtd"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := testDriver(t, tc.uri).Probe(t.Context())
			if !isUnavailable(err, tc.fix) {
				t.Errorf("got %v, want a *vm.UnavailableError whose fix has %q", err, tc.fix)
			}
		})
	}
}

// TestURIs proves what is said of connections that the driver cannot use.
func TestURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"qemu:///system": "", "qemu:///session": "", "qemu+ssh://me@host:22/system": "", "qemu+unix:///system?socket=/x": "",
		"xen:///system":          "qemu",
		"qemu:///embed":          "QEMU's libvirt",
		"qemu://host/system":     "qemu+ssh://host/system",
		"qemu+tls://host/system": "qemu+ssh",
		"test:///default":        "QEMU's libvirt",
	} {
		s := &site{uri: uri}
		err := s.address(uri)
		if want == "" && err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", uri, err, want)
		}
	}
}

// TestSSHArguments proves that the driver goes the way that libvirt goes.
func TestSSHArguments(t *testing.T) {
	s := &site{}
	if err := s.address("qemu+ssh://me@far.example:2222/system?keyfile=/k&no_verify=1"); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.shell.Args, " ")
	if want := "-T -o BatchMode=yes -i /k -o StrictHostKeyChecking=no -p 2222 -l me -- far.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if quote(`it's`) != `'it'\''s'` {
		t.Errorf("quote: got %s", quote(`it's`))
	}
}
