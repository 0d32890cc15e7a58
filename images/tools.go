package images

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Tool is a program of the host that this room calls.
type Tool struct {
	Command string // as looked up on PATH
	Package string // Debian's package that has it
	Why     string // what it is for, in a few words
}

// Tools returns the programs that this user's builds and imports call. Only
// these are called.
func Tools() []Tool {
	if os.Geteuid() == 0 {
		return tools
	}
	return append([]Tool{{"newuidmap", "uidmap", "lets an ordinary user build images"}}, tools...)
}

var tools = []Tool{
	{"mmdebstrap", "mmdebstrap", "unpacks Debian's packages into an image"},
	{"tar", "tar", "unpacks the image's files with owners and capabilities"},
	{"mke2fs", "e2fsprogs", "makes the image's file system"},
	{"qemu-img", "qemu-utils", "makes and reads qcow2 disks"},
	{"prlimit", "util-linux", "bounds what an imported disk can make qemu-img do"},
}

// importTools are the tools that importing a disk needs.
var importTools = tools[3:]

// MissingToolsError names every tool that is not installed.
type MissingToolsError struct{ Tools []Tool }

func (e *MissingToolsError) Error() string {
	var names []string
	for _, t := range e.Tools {
		names = append(names, t.Command)
	}
	return fmt.Sprintf("%s: not installed; run %q", strings.Join(names, ", "), "assay doctor --fix")
}

// needTools returns a *MissingToolsError if one of the tools is not installed.
func needTools(tools []Tool) error {
	var missing []Tool
	for _, t := range tools {
		if _, err := exec.LookPath(t.Command); err != nil {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return &MissingToolsError{missing}
	}
	return nil
}
