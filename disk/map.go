package disk

// A run is a piece of a file that lies in one piece on the disk. All are blocks.
type run struct {
	at, n     uint64 // of the file
	block     uint64 // of the disk
	unwritten bool   // reserved: it reads as zero
}

// A visitor is shown where a file lies. An error of its functions ends the visit.
type visitor struct {
	data func(run) error    // in the order of the file
	node func(uint64) error // blocks of the tree itself; may be nil
}

// maxRuns bounds the pieces of one file.
const maxRuns = 1 << 22

// visit shows v all blocks of an inode's content. Inodes whose content is in
// the entry have none.
func (fs *Ext4) visit(i *Inode, v visitor) error {
	if i.Flags&flagInline != 0 || !i.mapped() {
		return nil
	}
	w := &mapWalk{fs: fs, i: i, v: v}
	root := i.raw[0x28:0x64]
	if i.Flags&flagExtents != 0 {
		return w.extents(root, -1)
	}
	w.seen = map[uint64]struct{}{}
	return w.indirect(root)
}

// mapped reports whether the inode's 60 bytes lead to blocks.
func (i *Inode) mapped() bool {
	switch i.Mode & modeType {
	case modeReg, modeDir:
		return true
	case modeLink:
		return !i.fastLink()
	}
	return false
}

// fastLink reports whether a symlink's target is in the entry itself.
func (i *Inode) fastLink() bool {
	return i.Flags&(flagInline|flagExtents) == 0 && i.Size < 60
}

// mapWalk walks one inode's map.
type mapWalk struct {
	fs   *Ext4
	i    *Inode
	v    visitor
	next uint64 // all blocks of the file below it are shown
	runs int
	last run                 // shown next, if it does not go on: indirect maps only
	seen map[uint64]struct{} // indirect blocks
}

// show hands a run on, if it lies in the file system.
func (w *mapWalk) show(r run) error {
	if r.block < w.fs.super.firstData || r.block >= w.fs.count || r.n > w.fs.count-r.block || r.block == 0 {
		return w.i.fail("blocks %d+%d, want less than %d", r.block, r.n, w.fs.count)
	}
	if w.runs++; w.runs > maxRuns {
		return w.i.fail("more than %d pieces", maxRuns)
	}
	return w.v.data(r)
}

// node reads a block of the map.
func (w *mapWalk) node(block uint64) ([]byte, error) {
	b, err := w.fs.block(block)
	if err == nil && w.v.node != nil {
		err = w.v.node(block)
	}
	return b, err
}

const (
	extentMagic  = 0xF30A
	maxDepth     = 5
	maxExtentLen = 32768 // longer ones are unwritten, and that much shorter
)

// extents shows what is below a node of an extent tree. Its entries must go up
// strictly, over the whole tree: so no node is visited twice, loop or not.
// depth is what the node above wants; the root says its own.
func (w *mapWalk) extents(b []byte, depth int) error {
	n, own := int(le.Uint16(b[2:])), int(le.Uint16(b[6:]))
	switch {
	case le.Uint16(b) != extentMagic:
		return w.i.fail("extent tree: magic number %#x, want %#x", le.Uint16(b), extentMagic)
	case depth < 0 && own > maxDepth, depth >= 0 && own != depth:
		return w.i.fail("extent tree: node of depth %d, want %d (at most %d)", own, depth, maxDepth)
	case 12+n*12 > len(b):
		return w.i.fail("extent tree: %d entries in %d bytes", n, len(b))
	}
	for k := range n {
		x := b[12+k*12 : 24+k*12]
		at := uint64(le.Uint32(x))
		if at < w.next {
			return w.i.fail("extent tree: block %d of the file after block %d", at, w.next)
		}
		if err := w.extent(x, at, own); err != nil {
			return err
		}
	}
	return nil
}

// extent shows one entry of a node of that depth.
func (w *mapWalk) extent(x []byte, at uint64, depth int) error {
	if depth == 0 {
		r := run{at: at, n: uint64(le.Uint16(x[4:])), block: uint64(le.Uint16(x[6:]))<<32 | uint64(le.Uint32(x[8:]))}
		if r.n > maxExtentLen {
			r.n, r.unwritten = r.n-maxExtentLen, true
		}
		if r.n == 0 || at+r.n > 1<<32 {
			return w.i.fail("extent tree: %d blocks at block %d", r.n, at)
		}
		w.next = at + r.n
		return w.show(r)
	}
	w.next = at
	b, err := w.node(uint64(le.Uint16(x[8:]))<<32 | uint64(le.Uint32(x[4:])))
	if err != nil {
		return err
	}
	if err := w.extents(b, depth-1); err != nil {
		return err
	}
	w.next = max(w.next, at+1)
	return nil
}

// indirect shows the blocks of the older map: 12 blocks, then a block of
// blocks, one of blocks of blocks, and one of those.
func (w *mapWalk) indirect(root []byte) error {
	for k := range 12 {
		if err := w.pointer(uint64(le.Uint32(root[k*4:])), 0); err != nil {
			return err
		}
	}
	for depth := 1; depth <= 3; depth++ {
		if err := w.pointer(uint64(le.Uint32(root[44+depth*4:])), depth); err != nil {
			return err
		}
	}
	return w.flush()
}

// pointer shows the blocks below a block number of that depth.
func (w *mapWalk) pointer(block uint64, depth int) error {
	if block == 0 { // a hole
		per, n := uint64(w.fs.bs/4), uint64(1)
		for range depth {
			n *= per
		}
		w.next += n
		return nil
	}
	if depth == 0 {
		return w.append(block)
	}
	if _, twice := w.seen[block]; twice {
		return w.i.fail("map: block %d is used twice", block)
	}
	w.seen[block] = struct{}{}
	b, err := w.node(block)
	if err != nil {
		return err
	}
	for k := 0; k < len(b); k += 4 {
		if err := w.pointer(uint64(le.Uint32(b[k:])), depth-1); err != nil {
			return err
		}
	}
	return nil
}

// append joins the file's next block with the run before it, if it goes on there.
func (w *mapWalk) append(block uint64) error {
	at := w.next
	w.next++
	if l := &w.last; l.n > 0 && l.at+l.n == at && l.block+l.n == block {
		l.n++
		return nil
	}
	err := w.flush()
	w.last = run{at: at, n: 1, block: block}
	return err
}

func (w *mapWalk) flush() error {
	if w.last.n == 0 {
		return nil
	}
	return w.show(w.last)
}
