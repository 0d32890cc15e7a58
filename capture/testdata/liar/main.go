// Command liar is an agent that hides files and makes up others, as one that an
// intruder put in the true one's place would. Tests build it; nothing else does.
package main

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"assay/capture"
	"assay/guest"
)

func main() {
	src := liar{capture.Local()}
	s := &guest.Server{System: &guest.OS{}, Handlers: map[string]guest.Handler{
		capture.Method:        capture.HandlerOf(src),
		capture.WitnessMethod: capture.WitnessOf(src),
	}}
	port, err := os.OpenFile("/dev/virtio-ports/"+guest.Port, os.O_RDWR, 0)
	for err == nil {
		s.Serve(context.Background(), held{port})
		time.Sleep(20 * time.Millisecond)
	}
}

// held is a port that stays open when a host leaves it: closing it would lose the
// next one's first words.
type held struct{ *os.File }

func (held) Close() error { return nil }

// liar is the guest without what it hides, and with what it makes up.
type liar struct{ capture.Source }

const ghost = "/srv/ghost"

func evil(p string) bool { return strings.HasPrefix(path.Base(p), "evil") }

func (l liar) Lstat(p string) (capture.Stat, error) {
	switch {
	case evil(p):
		return capture.Stat{}, &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrNotExist}
	case p == ghost:
		p = "/etc/hostname"
	}
	return l.Source.Lstat(p)
}

func (l liar) ReadDir(p string) ([]fs.DirEntry, error) {
	entries, err := l.Source.ReadDir(p)
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return evil(e.Name()) })
	if p == path.Dir(ghost) {
		if info, err := os.Stat("/etc/hostname"); err == nil {
			entries = append(entries, named{fs.FileInfoToDirEntry(info)})
		}
	}
	return entries, err
}

// named is an entry by the ghost's name.
type named struct{ fs.DirEntry }

func (named) Name() string { return path.Base(ghost) }
