package fake

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"assay"
)

// maxProcesses is how many processes a guest may have.
const maxProcesses = 4096

// A process is one running word of a guest.
type process struct {
	assay.Process
	group  int // the exec that started it: the pid of its first process
	cancel context.CancelCauseFunc
}

// killed is the cause of a process context that a signal ended.
type killed struct{ signal string }

func (k killed) Error() string { return "killed by " + k.signal }

// processes is a guest's process table. Its methods are safe for concurrent use.
type processes struct {
	mu   sync.Mutex
	last int
	all  map[int]*process
}

func newProcesses() *processes { return &processes{all: map[int]*process{}} }

// start adds a process; its context ends when ctx does or somebody kills it.
// group 0 makes a new group. It fails when the table is full.
func (t *processes) start(ctx context.Context, user string, parent, group int, argv []string) (context.Context, int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= maxProcesses {
		return nil, 0, fmt.Errorf("fork: no more than %d processes", maxProcesses)
	}
	t.last++
	if group == 0 {
		group = t.last
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t.all[t.last] = &process{
		Process: assay.Process{PID: t.last, PPID: parent, User: user, Command: strings.Join(argv, " ")},
		group:   group,
		cancel:  cancel,
	}
	return ctx, t.last, nil
}

// become gives a process another command, as exec does.
func (t *processes) become(pid int, argv []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.all[pid]; p != nil {
		p.Command = strings.Join(argv, " ")
	}
}

// end takes a process that is done out of the table. What it started lives on
// as init's child; without such children its context is over too.
func (t *processes) end(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := t.all[pid]
	if gone == nil {
		return
	}
	delete(t.all, pid)
	childless := true
	for _, p := range t.all {
		if p.PPID == pid {
			p.PPID, childless = 1, false
		}
	}
	if childless {
		gone.cancel(nil)
	}
}

// kill ends every process that which picks, and returns how many there were.
func (t *processes) kill(signal string, which func(*process) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for pid, p := range t.all {
		if which(p) {
			n++
			p.cancel(killed{signal})
			delete(t.all, pid)
		}
	}
	return n
}

// list returns copies, by pid. group 0 means all.
func (t *processes) list(group int) []assay.Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []assay.Process
	for _, p := range t.all {
		if group == 0 || p.group == group {
			all = append(all, p.Process)
		}
	}
	slices.SortFunc(all, func(a, b assay.Process) int { return a.PID - b.PID })
	return all
}

// clone copies the table. What ran goes on as an entry that nobody works for: a
// sleeper of a snapshot sleeps until it is killed.
func (t *processes) clone() *processes {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &processes{last: t.last, all: make(map[int]*process, len(t.all))}
	for pid, p := range t.all {
		twin := *p
		twin.cancel = func(error) {}
		c.all[pid] = &twin
	}
	return c
}
