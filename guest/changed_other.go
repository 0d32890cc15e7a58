//go:build !linux

package guest

import (
	"os"
	"time"
)

// changed is when a file was last modified.
func changed(info os.FileInfo) time.Time { return info.ModTime() }
