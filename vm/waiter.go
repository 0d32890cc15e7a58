package vm

import "time"

// Waiter is a machine that knows when the host keeps it from running. It is no
// capability: without it, the host counts as idle.
type Waiter interface {
	// Waiting begins to measure. The function that it returns says for how long,
	// since then, the most neglected of the hypervisor's threads was ready to run
	// while others ran. Both are cheap, and safe for concurrent use.
	Waiting() (waited func() time.Duration)
}
