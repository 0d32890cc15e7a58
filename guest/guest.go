// Package guest is the line between host and guest: the agent's server, the
// host's client, and the words that they exchange.
//
// It knows how to run programs, move files and name a guest. It does not know
// what collectors mean: other rooms hang their methods on the line as
// Server.Handlers and call them with Client.Call. Neither end trusts the other: every size,
// depth, count and time is bounded.
package guest

import (
	"assay"
	"time"
)

// Port is the name of the virtio-serial port that the agent listens on:
// /dev/virtio-ports/assay.0 in the guest.
const Port = "assay.0"

// Command is one program to run in the guest.
type Command struct {
	Argv    []string          `json:"argv,omitempty"`    // program and arguments, or …
	Shell   string            `json:"shell,omitempty"`   // … a line for /bin/sh -c
	User    string            `json:"user,omitempty"`    // login name; empty: the guest's test user, else root
	Env     map[string]string `json:"env,omitempty"`     // over the user's login environment
	Dir     string            `json:"dir,omitempty"`     // ~ is the user's home; empty: the user's home
	Timeout time.Duration     `json:"timeout,omitempty"` // 0: none; then the whole process tree is killed
	Expire  <-chan struct{}   `json:"-"`                 // closes when the time is up by the host's count: as if Timeout had passed; nil: never; needs Info.Expires
	TTY     *Size             `json:"tty,omitempty"`     // run on a terminal; stderr joins stdout
	Stdin   bool              `json:"stdin,omitempty"`   // set by Exec when it has a reader
}

// Size is a terminal's size.
type Size struct{ Rows, Cols uint16 }

// Exit is how a command ended. A non-zero code is not an error.
type Exit struct {
	Code       int             `json:"code"`             // -1 when a signal ended it
	Signal     string          `json:"signal,omitempty"` // SIGKILL
	TimedOut   bool            `json:"timed_out,omitempty"`
	Duration   time.Duration   `json:"duration"` // measured in the guest
	CPU        time.Duration   `json:"cpu"`
	PeakMemory int64           `json:"peak_memory"`       // bytes; 0 when the kernel does not tell
	Orphans    []assay.Process `json:"orphans,omitempty"` // still in the command's cgroup, at most 100
}

// Info is what the agent says of its guest.
type Info struct {
	OS       assay.OS `json:"os"`
	Hostname string   `json:"hostname"`
	User     string   `json:"user"` // who commands run as unless they say otherwise: tester, or root
	Home     string   `json:"home"` // of that user
	CPUs     int      `json:"cpus"`
	Memory   int64    `json:"memory"` // bytes
	BootID   string   `json:"boot_id"`
	Uptime   float64  `json:"uptime"`  // seconds
	Agent    string   `json:"agent"`   // version of the agent
	Cgroups  bool     `json:"cgroups"` // each exec has a cgroup of its own
	Expires  bool     `json:"expires"` // the agent knows Command.Expire

	// HostKeys are the types of the ssh server's keys: rsa, ecdsa, ed25519. A clone
	// needs new ones of each: see NewIdentity.
	HostKeys []string `json:"host_keys,omitempty"`
}

// Identity is what makes a fork differ from its twin. See Client.Renew, and
// NewIdentity, which makes one. What is empty stays as it is, except that a
// MachineID means a new machine: then the host keys of a guest that has an ssh
// server are replaced too.
type Identity struct {
	Entropy   []byte    `json:"entropy"` // at least 64 bytes of the host's randomness
	Time      time.Time `json:"time"`    // the host's clock
	Hostname  string    `json:"hostname,omitempty"`
	MachineID string    `json:"machine_id,omitempty"` // 32 hex digits
	MAC       string    `json:"mac,omitempty"`        // of the first network card: 52:54:00:12:34:56
	Address   string    `json:"address,omitempty"`    // takes the place of that card's IPv4 address, if it has one: 10.0.2.77
	HostKeys  []HostKey `json:"host_keys,omitempty"`
}

// A HostKey is an ssh server's key. It replaces the guest's key of its type, if
// there is one.
type HostKey struct {
	Type    string `json:"type"`    // rsa, ecdsa or ed25519: the word in /etc/ssh/ssh_host_TYPE_key
	Private []byte `json:"private"` // PEM, in OpenSSH's own form
	Public  []byte `json:"public"`  // the line of the .pub file
}

// TransferStats is what a Push or Pull moved.
type TransferStats struct {
	Files int   `json:"files"` // everything that is not a folder
	Dirs  int   `json:"dirs"`
	Bytes int64 `json:"bytes"`

	// Skipped says what was left out, and why: devices, sockets and pipes, setuid and
	// setgid bits of files, and, on a Pull, symlinks that lead out of the tree. At
	// most 100 lines.
	Skipped []string `json:"skipped,omitempty"`
}
