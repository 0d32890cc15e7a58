package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OwnCgroup prepares the cgroup that this process was started in, such as a
// systemd unit's with Delegate=yes, and returns the folder for OS.Cgroup. The
// process moves into a child, since a cgroup with processes can't have children
// with controllers. Commands as a whole get less than the tasks that the unit
// may have, and a share of the processors however many they are, so that a fork
// bomb leaves some of both for the agent.
func OwnCgroup() (string, error) {
	own, err := findCgroup()
	if err != nil {
		return "", err
	}
	agent, commands := filepath.Join(own, "agent"), filepath.Join(own, "commands")
	for _, dir := range []string{agent, commands} {
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	if err := writeCgroup(agent, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return "", err
	}
	// Each of these is optional: a hierarchy may lack the controller.
	for _, controller := range []string{"+memory", "+pids", "+cpu"} {
		writeCgroup(own, "cgroup.subtree_control", controller)
	}
	writeCgroup(agent, "cpu.weight", "1000")
	writeCgroup(commands, "cgroup.subtree_control", "+memory")
	if limit := taskLimit(own); limit > 0 {
		writeCgroup(commands, "pids.max", strconv.Itoa(limit))
	}
	for _, old := range childCgroups(commands) {
		removeCgroup(old) // of an agent that died; who lives there stays
	}
	return commands, nil
}

// findCgroup returns the folder of the process's own cgroup v2.
func findCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	path, ok := cgroupPath(string(self))
	if !ok {
		return "", fmt.Errorf("cgroup: got none of version 2 in /proc/self/cgroup")
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return filepath.Join(f[1], path), nil
		}
	}
	return "", fmt.Errorf("cgroup: version 2 is not mounted")
}

// cgroupPath finds the line of version 2.
func cgroupPath(self string) (string, bool) {
	for line := range strings.Lines(self) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path), true
		}
	}
	return "", false
}

// taskLimit returns three quarters of the tasks that the cgroup, or the kernel,
// allows; 0 if neither says.
func taskLimit(own string) int {
	for _, file := range []string{filepath.Join(own, "pids.max"), "/proc/sys/kernel/threads-max"} {
		b, _ := os.ReadFile(file)
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 {
			return n * 3 / 4
		}
	}
	return 0
}

func writeCgroup(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
