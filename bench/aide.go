//go:build linux

package main

// aideConfig makes AIDE look at what a capture looks at: every file's type,
// mode, owner, size, link target and SHA-256, on the disk and nowhere else.
const aideConfig = `database_in=file:/var/lib/bench-aide.db
database_out=file:/var/lib/bench-aide.db
gzip_dbout=no
database_attrs=sha256
report_url=stdout
All = p+ftype+i+l+n+u+g+s+m+c+acl+xattrs+sha256
!/proc
!/sys
!/dev
!/run
!/tmp
!/var/lib/bench-aide\.db
/ All
`
