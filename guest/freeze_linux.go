package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var _ Freezer = (*OS)(nil)

// The requests of linux/fs.h, the same on every architecture that Go knows but
// MIPS, PowerPC and SPARC.
const (
	fifreeze = 0xc0045877 // _IOWR('X', 119, int)
	fithaw   = 0xc0045878 // _IOWR('X', 120, int)
)

// Freeze implements Freezer.
func (o *OS) Freeze(ctx context.Context, path string, during func(Stillness) error) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := ioctl(dir, fifreeze); err != nil {
		why := fmt.Sprintf("freeze: %v", err)
		if err := unix.Syncfs(int(dir.Fd())); err != nil {
			return fmt.Errorf("syncfs: %w", err)
		}
		return during(Stillness{Why: why})
	}
	return hold(ctx, FreezeMax, func() error { return ioctl(dir, fithaw) }, func() error { return during(Stillness{Frozen: true}) })
}

// hold runs during and then thaw, or thaw at once when ctx ends or limit has
// passed, which is an error if during had not returned by then.
func hold(ctx context.Context, limit time.Duration, thaw, during func() error) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nobody let go for %v", limit))
	defer cancel()
	once := sync.OnceValue(thaw)
	stop := context.AfterFunc(limited, func() { once() })
	err := during()
	late := !stop()
	err = errors.Join(err, once())
	if late && err == nil {
		err = context.Cause(limited)
	}
	return err
}

// Thaw lets a file system go on that an agent left frozen when it was killed. One
// that is not frozen stays as it is.
func Thaw(path string) {
	if dir, err := os.Open(path); err == nil {
		ioctl(dir, fithaw)
		dir.Close()
	}
}

func ioctl(f *os.File, request uintptr) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) { _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, 0) }); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}
