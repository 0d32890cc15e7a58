package guest

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Renew implements System.
func (o *OS) Renew(ctx context.Context, id Identity) error {
	if id.MachineID != "" && runtime.NumCPU() > 1 {
		o.rehearse()
	}
	for _, step := range []struct {
		what string
		want bool
		do   func() error
	}{
		{"entropy", len(id.Entropy) > 0, func() error { return spared(reseed(id.Entropy)) }},
		{"clock", !id.Time.IsZero(), func() error {
			now := unix.NsecToTimeval(id.Time.UnixNano())
			return spared(unix.Settimeofday(&now))
		}},
		{"hostname", id.Hostname != "", func() error { return unix.Sethostname([]byte(id.Hostname)) }},
		{"machine-id", id.MachineID != "", func() error { return setMachineID(id.MachineID) }},
		{"card", id.MAC != "" || id.Address != "", func() error { return renewCard(id.MAC, id.Address) }},
		{"host keys", len(id.HostKeys) > 0, func() error { return replaceHostKeys(sshDir, id.HostKeys) }},
	} {
		if !step.want {
			continue
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// rehearsalMax is how long a rehearsal may take.
const rehearsalMax = 10 * time.Second

// rehearse runs a program that does nothing, beside the renewal. In a clone that
// has just woken on an emulated processor every instruction is translated anew;
// what starting a program takes is then translated by the time the first command
// comes, which so starts in half the time.
func (o *OS) rehearse() {
	o.rehearsal.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), rehearsalMax)
		defer cancel()
		o.Exec(ctx, Command{Argv: []string{"true"}}, Streams{Stdout: io.Discard, Stderr: io.Discard})
	})
}

// Rehearsed waits until nothing of a renewal's rehearsal is left.
func (o *OS) Rehearsed() { o.rehearsal.Wait() }

// maxEntropy bounds what is handed to the kernel.
const maxEntropy = 4 << 10

// reseed gives the kernel randomness that no twin has, credits it, and has the
// generator use it at once.
func reseed(entropy []byte) error {
	entropy = entropy[:min(len(entropy), maxEntropy)]
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(entropy); err != nil {
		return err
	}
	// struct rand_pool_info: bits, bytes, the bytes themselves
	info := make([]uint32, 2+(len(entropy)+3)/4)
	info[0], info[1] = uint32(len(entropy)*8), uint32(len(entropy))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&info[2:][0])), len(entropy)), entropy)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return errno
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDRESEEDCRNG, 0); errno != 0 {
		return errno
	}
	return nil
}

// setMachineID writes machine-id(5).
func setMachineID(id string) error {
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return fmt.Errorf("machine-id: got %q, want 32 hex digits in lower case", printable(id, maxWord))
	}
	return os.WriteFile("/etc/machine-id", []byte(id+"\n"), 0o444)
}
