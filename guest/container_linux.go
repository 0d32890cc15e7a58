package guest

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// spared forgives the kernel its refusal to have its clock set, or randomness
// credited, where it is the host's own: in a container. That clock is right
// already, and no other container is given the same randomness.
func spared(err error) error {
	if errors.Is(err, unix.EPERM) && inContainer() {
		return nil
	}
	return err
}

// inContainer reports whether the kernel has other users than this system: root
// is not the host's root, or the first process was told that it is in a container.
func inContainer() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295" {
		return true
	}
	env, _ := os.ReadFile("/proc/1/environ")
	return bytes.HasPrefix(env, []byte("container=")) || bytes.Contains(env, []byte("\x00container="))
}
