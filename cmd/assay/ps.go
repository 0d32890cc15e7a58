package main

import (
	"bytes"
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay/engine"
	"assay/platform"
	"assay/vm"
)

// A liveRow is a live machine and what it costs this host.
type liveRow struct {
	engine.Live
	Usage vm.Usage `json:"usage"` // PID 0: the machine has no process of its own
}

func (a *app) psCommand() *cobra.Command {
	var asJSON, ids bool
	c := &cobra.Command{
		Use:   "ps",
		Short: "List the live machines and what they cost",
		Long: `List the live machines and what they cost, also those that are being made: their
state says what their launch is doing.`,
		Example: `  assay ps
  assay ps --ids`,
		Args: operands(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			live := []liveRow{}
			for _, l := range engine.LiveMachines(a.home) {
				live = append(live, liveRow{l, usageOf(l)})
			}
			switch {
			case asJSON:
				return a.printJSON(live)
			case ids:
				for _, l := range live {
					if l.Starting == "" {
						a.printf("%s\n", l.ID)
					}
				}
				return nil
			}
			return a.listLive(live)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&ids, "ids", false, "print only the machines' ids")
	return c
}

func (a *app) listLive(live []liveRow) error {
	dead := engine.DeadRuns(a.home)
	for _, id := range dead {
		a.note("%s died; machines of it may still run: \"assay gc\" destroys them", id)
	}
	if len(live) == 0 {
		if len(dead) == 0 {
			a.note("no machine is alive")
		}
		return nil
	}
	var rows [][]any
	for _, l := range live {
		cpu, memory := "-", "-"
		if l.Usage.PID > 0 {
			cpu, memory = seconds(l.Usage.CPU), bytesText(l.Usage.Memory)
		}
		rows = append(rows, []any{cmp.Or(l.ID, l.Name), cmp.Or(l.Starting, "running"), l.Image, l.Driver, l.Cell, cpu, memory, bytesText(l.Usage.Disk), time.Since(l.Started).Round(time.Second).String()})
	}
	return a.table([]string{"machine", "state", "image", "driver", "test", "cpu", "memory", "disk", "age"}, rows)
}

// usageOf measures a machine of another process from outside: its process is
// the one among the owner's descendants whose arguments name it.
func usageOf(l engine.Live) vm.Usage {
	u := vm.Usage{Disk: diskUsage(strings.TrimSuffix(l.Socket, ".sock"))}
	for _, pid := range descendants(l.PID) {
		args, err := os.ReadFile(procFile(pid, "cmdline"))
		if err != nil || l.ID == "" || !slices.Contains(strings.Split(string(args), "\x00"), l.ID) {
			continue
		}
		u.PID, u.CPU, u.Memory = pid, cpuTime(pid), proportional(pid)
		break
	}
	return u
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// descendants lists the processes below pid.
func descendants(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc") // a host without it has no usage to show
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil {
			if f := statFields(child); len(f) > 1 {
				parent, _ := strconv.Atoi(f[1])
				children[parent] = append(children[parent], child)
			}
		}
	}
	var all []int
	for next := children[pid]; len(next) > 0; {
		all = append(all, next[0])
		next = append(next[1:], children[next[0]]...)
	}
	return all
}

// statFields returns the fields of /proc/PID/stat after the name: state, parent, …
func statFields(pid int) []string {
	data, err := os.ReadFile(procFile(pid, "stat"))
	at := bytes.LastIndexByte(data, ')')
	if err != nil || at < 0 {
		return nil
	}
	return strings.Fields(string(data[at+1:]))
}

// clockTick is the unit of /proc/PID/stat, which Linux never changes.
const clockTick = 10 * time.Millisecond

func cpuTime(pid int) time.Duration {
	f := statFields(pid)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * clockTick
}

// proportional is the memory of a process, with shared pages divided among
// those who share them.
func proportional(pid int) int64 {
	data, _ := os.ReadFile(procFile(pid, "smaps_rollup"))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// diskUsage is what the files below a folder occupy.
func diskUsage(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it vanished: the machine is being closed
		}
		if info, err := e.Info(); err == nil {
			if !e.IsDir() {
				sum += platform.Occupied(info)
			}
		}
		return nil
	})
	return sum
}
