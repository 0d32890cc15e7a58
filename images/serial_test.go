package images_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/capture"
	"assay/guest"
	"assay/seed"
)

// A foreign hypervisor's machine, as QEMU can play it: the console is one serial
// port, the agent's line another, and there is no virtio-serial.
var foreign = []string{
	"-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=64",
	"-cpu", "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand", "-smp", "2", "-m", "768", "-device", "virtio-rng-pci", "-nic", "none",
}

// overSerial boots a cloud disk with a seed disk for hypervisors that have nothing
// better than a serial port, and proves that the agent answers there, whatever
// else was said on the line, and what the seed disk has made.
func overSerial(t *testing.T, disk string, agent []byte) {
	dir, err := os.MkdirTemp("", "serial-") // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	iso, socket, console := filepath.Join(dir, "seed.iso"), filepath.Join(dir, "line"), filepath.Join(dir, "console")
	opt := seed.Options{Agent: agent, ID: "serial", Hostname: "other", Line: "serial:/dev/ttyS1", SSHKey: "ssh-ed25519 AAAA me", Password: "two words"}
	if err := seed.Write(iso, opt); err != nil {
		t.Fatal(err)
	}
	qemu := exec.Command("qemu-system-x86_64", append(foreign, "-drive", "file="+disk+",format=raw,if=virtio,snapshot=on",
		"-drive", "file="+iso+",format=raw,if=virtio,readonly=on", "-serial", "file:"+console,
		"-chardev", "socket,id=line,path="+socket+",server=on,wait=off", "-serial", "chardev:line")...)
	var said bytes.Buffer
	qemu.Stderr = &said
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	defer qemu.Wait()
	defer qemu.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	for i, noise := range []string{"root\r\n", "\x00\x00\x01\x00\x01\x01\x00\x00\x00half a frame"} {
		conn := dialSerial(ctx, t, socket)
		if _, err := conn.Write([]byte(noise)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c, err := guest.Connect(ctx, guest.Slow(conn))
		if err != nil {
			text, _ := os.ReadFile(console)
			t.Fatalf("%v; QEMU: %s; console: %q", err, said.Bytes(), text[max(0, len(text)-4<<10):])
		}
		if i == 0 {
			seeded(t, c)
		}
		if got := sh(t, c, "head -c 30000 /dev/zero | wc -c"); got != "30000" {
			t.Errorf("got %q, want 30000", got)
		}
		c.Close()
	}
}

// dialSerial waits for QEMU to listen, or to let the caller before go.
func dialSerial(ctx context.Context, t *testing.T, socket string) net.Conn {
	t.Helper()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// seeded checks what the seed disk was told to make.
func seeded(t *testing.T, c *guest.Client) {
	t.Helper()
	for line, want := range map[string]string{
		"id -un; sudo -n id -u":                           "tester\n0",
		"hostname; sudo -n hostname":                      "other\nother",
		"cat ~/.ssh/authorized_keys":                      "ssh-ed25519 AAAA me",
		"stat -c '%U %a' ~/.ssh ~/.ssh/authorized_keys":   "tester 700\ntester 600",
		"sudo grep -c '^tester:[$]' /etc/shadow":          "1",
		"readlink /run/systemd/system/serial-getty*":      "/dev/null",
		"ps -e -o tty=,comm= | grep -c 'ttyS1.*getty'; :": "0",
		"cat /usr/lib/assay/entered":                      "account\nsudoers",
	} {
		if got := sh(t, c, line); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// unseen checks that nothing that the seed disk brought shows as a change.
func unseen(ctx context.Context, t *testing.T, c *guest.Client) {
	t.Helper()
	var taken []capture.Capture
	for range 2 {
		start := time.Now()
		got, err := capture.Take(ctx, c, capture.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("a capture of %d records took %v", len(got.Records), time.Since(start))
		taken = append(taken, got)
	}
	changes, _, err := capture.Diff(taken[0], taken[1], capture.DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if text := fmt.Sprintf("%+v", change); strings.Contains(text, "assay") || strings.Contains(text, "tester") {
			t.Errorf("nothing happened, and a capture shows %s", text)
		}
	}
}
