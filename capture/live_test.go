//go:build linux

package capture

import (
	"context"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plain is a Source without short cuts: collectors read file by file, and ask
// programs.
type plain struct{ Source }

func (p plain) own(pid int) bool { return p.Source.(selfish).own(pid) }

// inGuest skips, but for the copy of this test that TestLive runs in a guest.
func inGuest(t *testing.T) {
	if os.Getenv("ASSAY_TEST_IN_GUEST") == "" {
		t.Skip("TestLive runs this in a guest")
	}
}

// eventually compares what two ways of asking say, until they say the same: a
// guest that runs may change in between.
func eventually(t *testing.T, what string, want, got func() []string) {
	t.Helper()
	var d string
	for range 20 {
		w, g := want(), got()
		if d = cmp.Diff(w, g); d == "" && len(w) > 0 {
			t.Logf("%s: %d lines alike", what, len(w))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%s (-slow way +short cut):\n%s", what, d)
}

// saidBy is what a collector says of a source.
func saidBy(t *testing.T, src Source, name string) func() []string {
	return func() []string {
		c, err := Collect(t.Context(), src, Options{Only: []string{name}})
		check(t, err)
		return strings.Split(strings.TrimSpace(render(c)), "\n")
	}
}

// The short cuts of a real guest's source say what the long ways say.
func TestGuestShortCuts(t *testing.T) {
	inGuest(t)
	for _, name := range []string{"processes", "network", "kernel", "mounts", "activity", "units", "journal"} {
		eventually(t, name, saidBy(t, plain{Local()}, name), saidBy(t, Local(), name))
	}
}

// What is not asked through systemctl and journalctl is what they say.
func TestGuestPrograms(t *testing.T) {
	inGuest(t)
	eventually(t, "systemctl", func() []string { return states(running(t.Context(), plain{Local()}, newSink(func(Record) {}))) }, func() []string {
		found, err := askSystemd(t.Context(), Local().(dialer))
		check(t, err)
		return states(found)
	})
	for _, b := range buses {
		if _, err := askBus(t.Context(), Local().(dialer), b.socket, b.broker); err != nil && exists(Local(), b.socket) {
			t.Errorf("%s: %v", b.socket, err)
		}
	}
	eventually(t, "journalctl", func() []string {
		all, err := askJournalctl(t.Context(), Local())
		check(t, err)
		return strings.Split(render(recordsOf(all)), "\n")
	}, func() []string {
		sink := newSink(func(Record) {})
		all, err := readJournals(t.Context(), Local(), sink)
		check(t, err)
		return append(strings.Split(render(recordsOf(all)), "\n"), sink.Problems()...)
	})
}

func states(found map[string]state) (all []string) {
	for name, st := range found {
		if unitType(name) != "" {
			all = append(all, name+" "+st.active+" "+st.sub)
		}
	}
	slices.Sort(all)
	return all
}

// Who has no file to run is a kernel's thread or dead, and nobody else.
func TestGuestProgramsHaveFiles(t *testing.T) {
	inGuest(t)
	eventually(t, "programs", func() (all []string) {
		for _, pid := range pids(Local(), newSink(func(Record) {})) {
			stat, err := os.ReadFile("/proc/" + decimal(pid) + "/stat")
			_, _, flags, state := parseStat(string(stat))
			if err == nil && flags&kernelThread == 0 && state != "Z" && state != "X" {
				all = append(all, decimal(pid))
			}
		}
		return all
	}, func() (all []string) {
		for _, p := range (&census{}).take(Local(), newSink(func(Record) {})).programs {
			all = append(all, decimal(p.pid))
		}
		return all
	})
}

// processorTime is what this process and its children have used.
func processorTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		syscall.Getrusage(who, &u)
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// What the live collectors cost, one by one and together.
func TestGuestCosts(t *testing.T) {
	inGuest(t)
	var lively []string
	for _, c := range Collectors() {
		if live(c) {
			lively = append(lively, c.Name())
			costs(t, Local(), c.Name())
		}
	}
	costs(t, Local(), lively...)
}

func costs(t *testing.T, src Source, only ...string) {
	const runs = 10
	var took []time.Duration
	records := 0
	before := processorTime()
	for range runs {
		began := time.Now()
		sink := newSink(func(Record) { records++ })
		check(t, collect(context.Background(), src, only, scan{}, sink))
		took = append(took, time.Since(began))
	}
	used := processorTime() - before
	slices.Sort(took)
	t.Logf("%-60s %4d records, %6.1f ms, median %6.1f, processor time in the guest %6.1f", strings.Join(only, " "), records/runs,
		ms(took[0]), ms(took[runs/2]), ms(used)/runs)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
