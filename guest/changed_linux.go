package guest

import (
	"os"
	"syscall"
	"time"
)

// changed is when a file, or what is said of it, last changed. Unlike the time of
// modification it cannot be set.
func changed(info os.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}
