package guest

import (
	"os"
	"sync"
	"time"
)

// accounts remembers who was looked up: every command asks, and to read two files
// costs a translated guest a millisecond.
var accounts = accountMemory{paths: [2]string{passwdFile, groupFile}}

// An accountMemory is good as long as the two files stay as they were.
type accountMemory struct {
	paths [2]string

	mu    sync.Mutex
	files [2]os.FileInfo
	known map[string]*account
}

// fileTick is longer than the clock of any file system stands still: a file that
// changed so lately may change again and look the same.
const fileTick = 100 * time.Millisecond

// maxKnown bounds how many names are remembered.
const maxKnown = 100

// find returns the account called name, from memory or by read.
func (m *accountMemory) find(name string, read func() (*account, error)) (*account, error) {
	now, ok := m.stat()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || !sameFiles(m.files, now) {
		m.known = nil
	}
	if a := m.known[name]; a != nil {
		return a, nil
	}
	a, err := read()
	if after, still := m.stat(); err != nil || !ok || !still || !sameFiles(now, after) {
		return a, err
	}
	if m.known == nil || len(m.known) >= maxKnown {
		m.known = map[string]*account{}
	}
	m.files = now
	m.known[name] = a
	return a, nil
}

// stat looks at the two files; not ok means that they can't be relied on.
func (m *accountMemory) stat() (files [2]os.FileInfo, ok bool) {
	for i, path := range m.paths {
		info, err := os.Stat(path)
		if err != nil || changed(info).After(time.Now().Add(-fileTick)) {
			return files, false
		}
		files[i] = info
	}
	return files, true
}

// sameFiles reports whether nobody has touched the files between two looks.
func sameFiles(a, b [2]os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil || !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !changed(a[i]).Equal(changed(b[i])) {
			return false
		}
	}
	return true
}
