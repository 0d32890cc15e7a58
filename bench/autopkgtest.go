//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A testbed is a running autopkgtest-virt-qemu: a program that makes a machine
// when it is told "open" and says how to run commands in it.
type testbed struct {
	cmd  *exec.Cmd
	wait func() error
	in   io.WriteCloser
	out  *bufio.Reader
	said strings.Builder
}

// wrapper writes the QEMU that autopkgtest-virt-qemu is given: one that boots the
// image's kernel and uses no KVM, which autopkgtest would take wherever there is
// a device.
func (st *Stage) wrapper() (string, error) {
	path := filepath.Join(st.dir, "qemu-system-x86_64")
	var b strings.Builder
	b.WriteString("#!/bin/sh\nfor a; do\n  shift\n  [ \"$a\" = -enable-kvm ] || set -- \"$@\" \"$a\"\ndone\nexec /usr/bin/qemu-system-x86_64 \"$@\"")
	for _, word := range append(append([]string{"-machine", "q35"}, hardware...), st.kernel()...) {
		b.WriteString(" '" + word + "'")
	}
	b.WriteString("\n")
	return path, os.WriteFile(path, []byte(b.String()), 0o700)
}

// patient runs autopkgtest-virt-qemu with ten times its time-outs. They are for
// KVM: without it the step that sets the time zone needs half of its 30 seconds,
// and on a host that is busy all of them.
const patient = `import sys
sys.path.insert(0, "/usr/share/autopkgtest/lib")
import VirtSubproc
start = VirtSubproc.timeout_start
VirtSubproc.timeout_start = lambda seconds: start(10 * seconds)
sys.argv.pop(0)
__file__ = sys.argv[0]
exec(compile(open(__file__).read(), __file__, "exec"))
`

// startTestbed starts the program. It makes no machine yet. One that is told to
// end forgets its QEMU, so the two have a process group, which ends as one.
func (st *Stage) startTestbed(ctx context.Context, qemu string) (*testbed, error) {
	program, err := exec.LookPath("autopkgtest-virt-qemu")
	if err != nil {
		return nil, err
	}
	cmd := st.make(ctx, "python3", "-c", patient, program, "-q", qemu, "--qemu-architecture", "x86_64", "--timeout-reboot", "60",
		"-c", strconv.Itoa(guestCPUs), "--ram-size", strconv.Itoa(guestMemory>>20), "-o", st.dir, st.image.Disk)
	cmd.Env = append(cmd.Env, "TMPDIR="+st.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	t := &testbed{cmd: cmd}
	cmd.Stderr = &t.said
	if t.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.out = bufio.NewReader(out)
	if t.wait, err = start(cmd, syscall.SIGTERM); err != nil {
		return nil, err
	}
	if _, err := t.answer(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// tell gives a command and returns the words of the answer.
func (t *testbed) tell(command string) ([]string, error) {
	if _, err := io.WriteString(t.in, command+"\n"); err != nil {
		return nil, err
	}
	return t.answer()
}

// answer reads one line that begins with ok.
func (t *testbed) answer() ([]string, error) {
	line, err := t.out.ReadString('\n')
	words := strings.Fields(line)
	if err == nil && (len(words) == 0 || words[0] != "ok") {
		err = fmt.Errorf("got %q, want ok", line)
	}
	if err != nil {
		said := t.said.String()
		return nil, fmt.Errorf("autopkgtest-virt-qemu: %w: %s", err, said[max(0, len(said)-1024):])
	}
	return words[1:], nil
}

// execute returns the command line before which a command runs in the machine:
// words with escapes, separated by commas.
func (t *testbed) execute() ([]string, error) {
	words, err := t.tell("print-execute-command")
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("autopkgtest-virt-qemu: got no command, want one")
	}
	return unescape(words[0])
}

func unescape(list string) ([]string, error) {
	var argv []string
	for word := range strings.SplitSeq(list, ",") {
		plain, err := url.PathUnescape(word)
		if err != nil {
			return nil, err
		}
		argv = append(argv, plain)
	}
	return argv, nil
}

// close has the machine destroyed and waits for the program. Nothing of it stays.
func (t *testbed) close() error {
	io.WriteString(t.in, "quit\n") // a program that is gone has nothing to quit
	t.in.Close()
	io.Copy(io.Discard, t.out)
	defer syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
	return t.wait()
}
