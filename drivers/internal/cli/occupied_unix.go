//go:build unix

package cli

import (
	"io/fs"
	"syscall"
)

// occupied returns what a file takes: holes take nothing.
func occupied(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
