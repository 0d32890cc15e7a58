package guest

import "fmt"

// What the tests of the parsers call.
var (
	OSOf       = osOf
	CgroupPath = cgroupPath

	SetMAC          = setMAC
	MoveAddress     = moveAddress
	HostKeysIn      = hostKeysIn
	ReplaceHostKeys = replaceHostKeys
)

// DirectMin is the size from which files are written and read directly.
const DirectMin = directMin

// ParseAccount renders what parseAccount reads; empty if nothing.
func ParseAccount(line string) string {
	a := parseAccount(line)
	if a == nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d %s %s", a.name, a.uid, a.gid, a.home, a.shell)
}
