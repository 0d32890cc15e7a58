//go:build unix

package engine

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var (
	confined atomic.Bool // this process is a child
	wasLimit unix.Rlimit // before
)

// confine puts this process under dataLimit.
func confine() {
	if unix.Getrlimit(unix.RLIMIT_DATA, &wasLimit) == nil {
		confined.Store(true)
		limitData(dataLimit)
	}
}

// roomy lifts the limit while a verb works, since the hypervisor's process would
// inherit it, and returns what puts it back.
func roomy() func() {
	if !confined.Load() {
		return func() {}
	}
	limitData(wasLimit.Cur)
	return func() { limitData(dataLimit) }
}

// limitData sets the soft limit; the hard one stays.
func limitData(soft uint64) {
	_ = unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: min(soft, wasLimit.Max), Max: wasLimit.Max})
}
