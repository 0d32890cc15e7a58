package capture

import "fmt"

// The bounds of what one capture hashes. Anybody in a guest can make files of
// terabytes that hold nothing. What is not hashed is told apart by size and times.
const (
	hashLimit  = 1 << 30  // bytes of one file
	holesTotal = 4 << 30  // bytes of all holes, which take no room on a disk
	hashTotal  = 64 << 30 // bytes of all files: a damaged disk may claim any room
)

// hashBudget is how much a capture has promised to hash, in the order of paths.
type hashBudget struct{ holes, all int64 }

// spend counts a file of so many bytes, of which some take room. An error says why
// the file is not to be hashed, and that nothing was counted.
func (b *hashBudget) spend(size, held int64) error {
	holes := max(0, size-max(0, held))
	switch {
	case size > hashLimit:
		return fmt.Errorf("%d bytes, at most %d are hashed", size, int64(hashLimit))
	case b.holes+holes > holesTotal:
		return fmt.Errorf("%d bytes of holes, at most %d of all files are hashed", holes, int64(holesTotal))
	case b.all+size > hashTotal:
		return fmt.Errorf("%d bytes, at most %d of all files are hashed", size, int64(hashTotal))
	}
	b.holes += holes
	b.all += max(0, size)
	return nil
}
