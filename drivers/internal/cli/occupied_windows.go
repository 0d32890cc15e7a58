package cli

import "io/fs"

// occupied returns what a file takes, as far as its size tells.
func occupied(info fs.FileInfo) int64 { return info.Size() }
