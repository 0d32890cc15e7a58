package vm

import "strings"

// hostNames is what people call the GOOS values of hosts.
var hostNames = map[string]string{"darwin": "macOS", "linux": "Linux", "windows": "Windows"}

// Hosts writes the GOOS values of a Card for a person.
func Hosts(systems []string, between string) string {
	var names []string
	for _, s := range systems {
		if name := hostNames[s]; name != "" {
			s = name
		}
		names = append(names, s)
	}
	return strings.Join(names, between)
}

// Elsewhere is why a driver cannot be used on a host where its hypervisor does
// not run: nothing can be installed.
func Elsewhere(driver string, systems []string) *UnavailableError {
	return &UnavailableError{Driver: driver, Reason: "for hosts with " + Hosts(systems, " or "), Absent: true}
}
