package cli

import _ "embed"

//go:embed firewall.sh
var firewall string

// Firewall returns the command that keeps a Linux guest from every network, but
// for what its ssh server answers to the host, and the one that undoes it. It is
// for hypervisors whose every command comes by that network. It must run in a
// session of that ssh server, as a user with passwordless sudo; it may be
// repeated, and does not outlive the guest's kernel. It needs iproute2 there.
//
// The guest's root can undo it: a machine behind it has vm.IsolationGuest.
func Firewall(on bool) []string {
	word := "off"
	if on {
		word = "on"
	}
	// sudo forgets who came; the session's own shell knows.
	session := `exec sudo -n sh -c "$1" sh "$2" "${SSH_CONNECTION%% *}"`
	return []string{"sh", "-c", session, "sh", firewall, word}
}
