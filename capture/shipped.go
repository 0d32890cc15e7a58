package capture

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"path"
	"strings"
)

// What dpkg writes down about packages, and a host reads beside the lists of files.
const (
	dpkgStatus     = "/var/lib/dpkg/status"
	dpkgDiversions = "/var/lib/dpkg/diversions"
	sumsTotal      = 32 << 20 // bytes of all that is kept of it in one capture
)

// vouching reports whether an attribute tells whether a package brought a file.
// Only some captures have such, so that none is compared.
func vouching(name string) bool { return name == "md5" || name == "sums" }

// vouch adds to a record what tells whether a package brought a file: to dpkg's
// own tables their text, to any other file the digest that dpkg writes down. Only
// of what changed since an earlier view of the disk: an image's own files are
// what its packages brought.
func (l *diskLook) vouch(s *seen, r Record) {
	if !l.later || s.kind != typeFile {
		return
	}
	if tableOfDpkg(s.path) {
		setIf(r.Attrs, "sums", l.table(s))
		return
	}
	if s.excess == nil && !unstable(s.path) && !unpackaged(s.path) && !strings.HasPrefix(s.path, dpkgInfo) {
		setIf(r.Attrs, "md5", l.md5(s))
	}
}

// tableOfDpkg reports whether p tells what packages brought.
func tableOfDpkg(p string) bool {
	return p == dpkgStatus || p == dpkgDiversions || path.Dir(p)+"/" == dpkgInfo && strings.HasSuffix(p, ".md5sums")
}

// table returns a table's text; of the status of all packages, their configuration
// files in the form of the other tables. What is too large is none.
func (l *diskLook) table(s *seen) string {
	if s.size > maxSmall || !l.spendSums(s) {
		return ""
	}
	f, err := l.disk.fs.Open(s.ino)
	if err != nil {
		return "" // the files collector says so
	}
	defer f.Close()
	data, err := readBounded(f, s.path, maxSmall)
	if err != nil {
		return ""
	}
	if s.path == dpkgStatus {
		return conffiles(string(data))
	}
	return strings.ToValidUTF8(string(data), "�")
}

// spendSums reports whether a table may still be kept, and counts it. The status
// is kept in part only.
func (l *diskLook) spendSums(s *seen) bool {
	if s.path == dpkgStatus {
		return true
	}
	return s.size <= maxList && l.sums.Add(s.size) <= sumsTotal
}

// md5 returns the digest of a file as dpkg writes it down, in hexadecimal.
func (l *diskLook) md5(s *seen) string {
	f, err := l.disk.fs.Open(s.ino)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := md5.New() // dpkg knows no other; a sha256 is in the record too
	if _, err := io.Copy(h, io.LimitReader(f, hashLimit)); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// conffiles returns the configuration files in dpkg's status as lines of
// "digest  package path".
func conffiles(status string) string {
	var b strings.Builder
	name, inside := "", false
	for l := range strings.Lines(status) {
		switch f := strings.Fields(l); {
		case strings.HasPrefix(l, "Package: ") && len(f) == 2:
			name, inside = f[1], false
		case strings.HasPrefix(l, "Conffiles:"):
			inside = true
		case !strings.HasPrefix(l, " "):
			inside = false
		case inside && len(f) >= 2 && strings.HasPrefix(f[0], "/") && b.Len() < maxList:
			b.WriteString(line(f[1]) + "  " + line(name) + " " + f[0] + "\n")
		}
	}
	return b.String()
}
