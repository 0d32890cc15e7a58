//go:build !linux

package images

import (
	"os"
	"syscall"
)

// attributes: images are built on Linux. What runs elsewhere are short tools such
// as qemu-img, which have no children.
func (c command) attributes() *syscall.SysProcAttr { return nil }

// endGroup ends a tool.
func endGroup(p *os.Process) { killGroup(p) }

// killGroup ends a tool that still runs.
func killGroup(p *os.Process) { _ = p.Kill() }
