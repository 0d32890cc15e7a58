package capture

import (
	"encoding/hex"
	"runtime"
	"sync"
	"time"
)

// memory is what one capture leaves to the next in the same agent: the digests of
// files whose inode says that nothing happened to them since.
type memory struct {
	mu    sync.Mutex
	files map[string]remembered
}

// remembered is what reading a file told.
type remembered struct {
	stat   inode
	asked  bool // for the text
	hashed bool
	sum    [32]byte
	extra  map[string]string // text and extended attributes; usually nil
}

func (m *remembered) set(name, value string) {
	if m.extra == nil {
		m.extra = map[string]string{}
	}
	m.extra[name] = value
}

// tell puts what was read into a record's attributes.
func (m remembered) tell(attrs map[string]string) {
	if m.hashed {
		attrs["sha256"] = hex.EncodeToString(m.sum[:])
	}
	for k, v := range m.extra {
		attrs[k] = v
	}
}

// inode is what must be equal for a file to be the same.
type inode struct {
	size, mtime, ctime int64
	ino, dev           uint64
}

func shape(s Stat) inode { return inode{s.Size, s.Mtime, s.Ctime, s.Ino, s.Dev} }

// begin returns what the last capture left and where to put what this one learns;
// nil maps for a nil memory.
func (m *memory) begin() (old, fresh map[string]remembered) {
	if m == nil {
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files, make(map[string]remembered, len(m.files))
}

func (m *memory) end(fresh map[string]remembered) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = fresh
}

// recent reports whether a time of change is so near that the next change could
// bear the same: kernels count it in ticks of up to 10 ms, and a clock may be set.
func recent(ctime int64) bool {
	age := time.Now().UnixNano() - ctime
	return age < int64(2*time.Second)
}

// parallel runs work on every processor and waits for all.
func parallel(work func()) {
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(work)
	}
	wg.Wait()
}
