package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assay/platform"
	"assay/vm"
)

// ps lists processes on every Unix.
var ps = Tool{Name: "ps", Limit: 20 * time.Second}

// ProcessUsage finds the process of a hypervisor whose command line has one of
// the words, such as a machine's id, and returns what it costs. Disk is left to
// the caller. Without such a process it is fs.ErrNotExist.
func ProcessUsage(ctx context.Context, words ...string) (vm.Usage, error) {
	// What follows a "=" would be a heading: each column has an option of its own.
	r, err := ps.Run(ctx, "-axww", "-o", "pid=", "-o", "rss=", "-o", "time=", "-o", "command=")
	if err != nil {
		return vm.Usage{}, err
	}
	lines := bufio.NewScanner(bytes.NewReader(r.Stdout))
	lines.Buffer(nil, maxSaid)
	for lines.Scan() {
		u, command, ok := parseProcess(lines.Text())
		if ok && u.PID != os.Getpid() && hasWord(command, words) { // assay's own command line may have the word too
			return u, nil
		}
	}
	if err := lines.Err(); err != nil {
		return vm.Usage{}, fmt.Errorf("ps: %w", err)
	}
	return vm.Usage{}, fmt.Errorf("ps: got no process with %q: %w", words, fs.ErrNotExist)
}

func hasWord(command string, words []string) bool {
	for _, w := range words {
		if w != "" && strings.Contains(command, w) {
			return true
		}
	}
	return false
}

// parseProcess reads a line "PID KIBIBYTES TIME COMMAND".
func parseProcess(line string) (u vm.Usage, command string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return u, "", false
	}
	pid, err1 := strconv.Atoi(fields[0])
	kib, err2 := strconv.ParseInt(fields[1], 10, 64)
	used, err3 := parseTime(fields[2])
	if errors.Join(err1, err2, err3) != nil {
		return u, "", false
	}
	_, command, _ = strings.Cut(line, fields[2])
	return vm.Usage{PID: pid, Memory: kib << 10, CPU: used}, command, true
}

// parseTime reads [[DAYS-]HOURS:]MINUTES:SECONDS, the seconds with a fraction on
// some systems.
func parseTime(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "-")
	if !found {
		days, rest = "0", s
	}
	d, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	total := time.Duration(d) * 24 * time.Hour
	parts := strings.Split(rest, ":")
	units := []time.Duration{time.Hour, time.Minute, time.Second}
	if len(parts) > len(units) {
		return 0, fmt.Errorf("time: got %.40q, want HH:MM:SS", s)
	}
	for i, part := range parts {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil || !(n >= 0 && n < 1<<24) {
			return 0, fmt.Errorf("time: got %.40q, want HH:MM:SS", s)
		}
		total += time.Duration(n * float64(units[len(units)-len(parts)+i]))
	}
	return total, nil
}

// Occupied returns the bytes that the files below dir take on the host's disk.
func Occupied(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += platform.Occupied(info)
		}
		return nil
	})
	return sum, err
}
