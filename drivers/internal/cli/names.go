package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// prefix begins the name of everything that assay makes in a hypervisor.
const prefix = "assay-"

// Name returns what a hypervisor shall call an owner's machine: letters, digits
// and dashes, at most 57 bytes, the same for the same owner and name.
func Name(owner, name string) string { return stem(owner) + name }

// stem is the same for all machines of an owner, and only theirs.
func stem(owner string) string {
	return fmt.Sprintf("%s%x-", prefix, sha256.Sum256([]byte(owner)))[:len(prefix)+10] + "-"
}

// Owned reports whether a hypervisor's machine of that name is the owner's.
func Owned(owner, name string) bool { return strings.HasPrefix(name, stem(owner)) }

// Sweep destroys what list names and the owner owns, and counts it. What is gone
// already does not count. It goes on after an error.
func Sweep(ctx context.Context, owner string, list func(context.Context) ([]string, error), destroy func(context.Context, string) error) (int, error) {
	names, err := list(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	var problems []error
	for _, name := range names {
		if !Owned(owner, name) {
			continue
		}
		switch err := destroy(ctx, name); {
		case err == nil:
			n++
		case !errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	return n, errors.Join(problems...)
}

// Until asks again and again, ever more seldom, until done reports true, or an
// error. It is for hypervisors that offer nothing to wait on. When ctx ends the
// error says what was waited for, and the last reason.
func Until(ctx context.Context, what string, done func(context.Context) (ok bool, why error, err error)) error {
	wait := 50 * time.Millisecond
	for {
		ok, why, err := done(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(wait):
			wait = min(wait*3/2, 2*time.Second)
		case <-ctx.Done():
			err := fmt.Errorf("%s: %w", what, context.Cause(ctx))
			if why != nil {
				err = fmt.Errorf("%w; the last reason: %w", err, why)
			}
			return err
		}
	}
}
