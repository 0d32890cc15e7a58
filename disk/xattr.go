package disk

import "fmt"

const (
	xattrMagic = 0xEA020000
	maxXattr   = 64 << 10 // bytes of a value, as in Linux
	maxXattrs  = 16 << 20 // bytes of one inode's values
	aclV1      = 1        // version of an access list on the disk
	aclV2      = 2        // version that lgetxattr gives
)

// Indexes of names that no kernel lists.
const (
	xattrSystem = 7 // "data" holds the content of inline files
)

// xattrPrefixes are what the indexes on the disk stand for, those that a kernel
// lists. Two stand for a whole name.
var xattrPrefixes = map[byte]string{
	1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 6: "security.", 10: "gnu.",
}

// xattr is an entry of an inode's extended attributes.
type xattr struct {
	index byte
	name  string
	inode uint32 // that holds the value; 0 if value does
	size  uint32
	value []byte // shared
}

// Xattrs returns an inode's extended attributes as lgetxattr would: user.*,
// trusted.*, security.*, and system.posix_acl_*.
func (fs *Ext4) Xattrs(n uint32) (map[string][]byte, error) {
	i, err := fs.Inode(n)
	if err != nil {
		return nil, err
	}
	return fs.InodeXattrs(i)
}

// InodeXattrs is Xattrs for an inode that is at hand.
func (fs *Ext4) InodeXattrs(i *Inode) (map[string][]byte, error) {
	var all map[string][]byte
	total := 0
	err := fs.xattrs(i, func(x xattr) error {
		prefix := xattrPrefixes[x.index]
		name := prefix + x.name
		if prefix == "" || all[name] != nil { // in the entry goes before in the block
			return nil
		}
		v, err := fs.xattrValue(i, x)
		if err != nil {
			return err
		}
		if total += len(v); total > maxXattrs {
			return i.fail("extended attributes of more than %d bytes", maxXattrs)
		}
		if all == nil {
			all = map[string][]byte{}
		}
		all[name] = v
		return nil
	})
	return all, err
}

// xattrs calls fn for the entries in the inode, then for those in its block.
func (fs *Ext4) xattrs(i *Inode, fn func(xattr) error) error {
	if err := i.xattrs(fn); err != nil || i.acl == 0 {
		return err
	}
	b, err := fs.block(i.acl)
	if err != nil {
		return err
	}
	if m := le.Uint32(b); m != xattrMagic {
		return i.fail("block of extended attributes: magic number %#x, want %#x", m, xattrMagic)
	}
	return i.xattrEntries(b[32:], b, fn)
}

// xattrs calls fn for the entries in the inode.
func (i *Inode) xattrs(fn func(xattr) error) error {
	end := extraEnd(i.raw)
	if end+4 > len(i.raw) || end == 128 || le.Uint32(i.raw[end:]) != xattrMagic {
		return nil
	}
	body := i.raw[end+4:]
	return i.xattrEntries(body, body, fn)
}

// xattrEntries calls fn for the entries in b; offsets of values count from base.
func (i *Inode) xattrEntries(b, base []byte, fn func(xattr) error) error {
	for len(b) >= 4 && le.Uint32(b) != 0 {
		n := 16
		if len(b) >= 16 {
			n = 16 + (int(b[0])+3)&^3
		}
		if n > len(b) {
			return i.fail("extended attribute of %d bytes, in %d", n, len(b))
		}
		x := xattr{index: b[1], name: string(b[16 : 16+int(b[0])]), inode: le.Uint32(b[4:]), size: le.Uint32(b[8:])}
		if x.inode == 0 && x.size > 0 {
			at := uint64(le.Uint16(b[2:]))
			if at+uint64(x.size) > uint64(len(base)) {
				return i.fail("extended attribute %q: %d bytes at %d, in %d", x.name, x.size, at, len(base))
			}
			x.value = base[at : at+uint64(x.size)]
		}
		if err := fn(x); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// xattrValue returns a value as lgetxattr gives it; never nil without an error.
func (fs *Ext4) xattrValue(i *Inode, x xattr) ([]byte, error) {
	v := append([]byte{}, x.value...)
	if x.inode != 0 {
		var err error
		if v, err = fs.inodeValue(i, x); err != nil {
			return nil, err
		}
	}
	if x.index == 2 || x.index == 3 {
		acl, ok := convertACL(v)
		if !ok {
			return nil, i.fail("access list of %d bytes is malformed", len(v))
		}
		return acl, nil
	}
	return v, nil
}

// inodeValue reads a value that has an inode of its own.
func (fs *Ext4) inodeValue(i *Inode, x xattr) ([]byte, error) {
	holder, err := fs.Inode(x.inode)
	if err != nil {
		return nil, err
	}
	if holder.Flags&flagEAInode == 0 || int64(x.size) > holder.Size || x.size > maxXattr {
		return nil, i.fail("extended attribute %q: value of %d bytes in inode %d of %d: want at most %d", x.name, x.size, x.inode, holder.Size, maxXattr)
	}
	f, err := fs.OpenInode(holder)
	if err != nil {
		return nil, err
	}
	v := make([]byte, x.size)
	_, err = f.ReadAt(v, 0)
	return v, err
}

// convertACL turns an access list on the disk, whose entries for a mere class
// have no id, into what lgetxattr gives.
func convertACL(b []byte) ([]byte, bool) {
	if len(b) < 4 || le.Uint32(b) != aclV1 {
		return nil, false
	}
	out := le.AppendUint32(nil, aclV2)
	for b = b[4:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, false
		}
		tag, id, n := le.Uint16(b), ^uint32(0), 4
		if tag == 2 || tag == 8 { // a named user, a named group
			if n = 8; len(b) < n {
				return nil, false
			}
			id = le.Uint32(b[4:])
		}
		out = le.AppendUint32(append(out, b[:4]...), id)
		b = b[n:]
	}
	return out, true
}

// inline returns what an inode with inline content holds: at least 60 bytes.
func (fs *Ext4) inline(i *Inode) ([]byte, error) {
	out := append([]byte{}, i.raw[0x28:0x64]...)
	found := fmt.Errorf("found")
	err := i.xattrs(func(x xattr) error {
		if x.index != xattrSystem || x.name != "data" {
			return nil
		}
		out = append(out, x.value...)
		return found
	})
	if err == found {
		err = nil
	}
	return out, err
}
