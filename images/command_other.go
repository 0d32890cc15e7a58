//go:build !linux

package images

import (
	"os"
	"syscall"
)

// attributes: images are built on Linux. What runs elsewhere are short tools such
// as qemu-img, which have no children.
func (c command) attributes() *syscall.SysProcAttr { return nil }

// alone reports whether the tool is in a world of its own: only on Linux.
func (c command) alone() bool { return false }

// askGroup ends a tool.
func askGroup(p *os.Process) { killGroup(p) }

// killGroup ends a tool that still runs.
func killGroup(p *os.Process) { _ = p.Kill() }
