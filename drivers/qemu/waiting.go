//go:build linux

package qemu

import (
	"os"
	"path/filepath"
	"time"

	"assay/vm"
)

var _ vm.Waiter = (*machine)(nil)

// Waiting measures for how long this host keeps QEMU waiting for a processor. A
// QEMU that is replaced meanwhile is counted from its start.
func (m *machine) Waiting() func() time.Duration {
	before := m.delays()
	return func() (longest time.Duration) {
		for thread, delay := range m.delays() {
			longest = max(longest, delay-before[thread])
		}
		return longest
	}
}

// delays returns for how long each thread of QEMU has been ready to run while
// others ran, by the thread's folder in /proc; nothing on kernels that do not tell.
func (m *machine) delays() map[string]time.Duration {
	p, err := m.process()
	if err != nil {
		return nil
	}
	all := map[string]time.Duration{}
	threads, _ := filepath.Glob(procPath(p.cmd.Process.Pid, "task/*")) // the pattern is well-formed
	for _, thread := range threads {
		if data, err := os.ReadFile(filepath.Join(thread, "schedstat")); err == nil { // else the thread has ended
			all[thread] = parseDelay(data)
		}
	}
	return all
}
