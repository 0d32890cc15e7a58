package disk

import (
	"errors"
	"io"
	"iter"
)

// Root is the number of the root folder's inode.
const Root = 2

// An Ext4 is an ext2, ext3 or ext4 file system. It may be read by many
// goroutines at once.
type Ext4 struct {
	r io.ReaderAt
}

// OpenExt4 opens the file system that begins with r and has size bytes at most.
// A journal that has to be replayed is replayed in memory. Errors:
// *UnsupportedError, which names the feature; *CorruptError.
func OpenExt4(r io.ReaderAt, size int64) (*Ext4, error) { return nil, errors.ErrUnsupported }

// An Inode describes a file. Times are Unix nanoseconds, and end with the year
// 2262 where the file's goes on.
type Inode struct {
	Number                     uint32
	Mode                       uint32 // st_mode: type and permission bits
	UID, GID                   uint32
	Nlink                      uint32
	Size                       int64
	Rdev                       uint64 // as lstat gives it
	Atime, Mtime, Ctime, Btime int64  // Btime is 0 where the inode has no place for it
	Flags                      uint32 // EXT4_*_FL, as lsattr shows them
}

// Inode reads inode n, in use or not.
func (fs *Ext4) Inode(n uint32) (*Inode, error) { return nil, errors.ErrUnsupported }

// Inodes yields the inodes in use, in order.
func (fs *Ext4) Inodes() iter.Seq2[*Inode, error] { return nil }

// A Dirent is a name in a folder.
type Dirent struct {
	Name string // any bytes but "/" and NUL
	Ino  uint32
	Type uint32 // S_IFMT bits of st_mode; 0 if the folder does not tell
}

// ReadDir lists a folder but for "." and "..", in the order on the disk.
func (fs *Ext4) ReadDir(n uint32) ([]Dirent, error) { return nil, errors.ErrUnsupported }

// Readlink returns a symlink's target.
func (fs *Ext4) Readlink(n uint32) (string, error) { return "", errors.ErrUnsupported }

// Xattrs returns an inode's extended attributes as lgetxattr would: user.*,
// trusted.*, security.*, and system.posix_acl_*.
func (fs *Ext4) Xattrs(n uint32) (map[string][]byte, error) { return nil, errors.ErrUnsupported }

// A File is the content of a regular file.
type File struct {
	Inode *Inode
}

// Open opens a regular file. Closing it is a matter of form: it holds nothing.
func (fs *Ext4) Open(n uint32) (*File, error) { return nil, errors.ErrUnsupported }

// Read reads on. It is an io.Reader.
func (f *File) Read(p []byte) (int, error) { return 0, errors.ErrUnsupported }

// ReadAt is an io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

// WriteTo writes what is left, in large pieces. It is an io.WriterTo, so that
// io.Copy is fast.
func (f *File) WriteTo(w io.Writer) (int64, error) { return 0, errors.ErrUnsupported }

// Close does nothing.
func (f *File) Close() error { return nil }

// An InodeSet is a set of inodes.
type InodeSet struct {
	unknown func(uint32) bool
}

// Has reports whether inode n is in the set.
func (s *InodeSet) Has(n uint32) bool { return true }

// Touched returns the inodes that changes can have altered: entry, content,
// extent tree or block map, extended attributes. changed are bytes of the file
// system (see Extents.Within). Inodes that are not in use count as touched.
func (fs *Ext4) Touched(changed Extents) (*InodeSet, error) { return nil, errors.ErrUnsupported }

// Orphans lists the inodes that were deleted while they were open.
func (fs *Ext4) Orphans() ([]*Inode, error) { return nil, errors.ErrUnsupported }
