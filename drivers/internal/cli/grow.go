package cli

import (
	"context"
	"fmt"
	"time"

	"assay/guest"
)

// Grow gives the guest's root file system the room that its disk has beyond the
// image's. A guest without the programs for that keeps the image's size.
func Grow(ctx context.Context, c *guest.Client) error {
	_, err := c.Exec(ctx, guest.Command{Shell: growScript, User: "root", Timeout: time.Minute}, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("grow the root file system: %w", err)
	}
	return nil
}

const growScript = `
src=$(findmnt -no SOURCE / 2>/dev/null || awk '$2 == "/" {print $1; exit}' /proc/mounts)
src=$(readlink -f "$src"); name=${src##*/}
if [ -e "/sys/class/block/$name/partition" ]; then
	part=$(cat "/sys/class/block/$name/partition")
	disk=$(basename "$(readlink -f "/sys/class/block/$name/..")")
	growpart "/dev/$disk" "$part"
fi
case $(findmnt -no FSTYPE / 2>/dev/null || awk '$2 == "/" {t=$3} END {print t}' /proc/mounts) in
ext*) resize2fs "$src" ;;
xfs) xfs_growfs / ;;
btrfs) btrfs filesystem resize max / ;;
esac`
