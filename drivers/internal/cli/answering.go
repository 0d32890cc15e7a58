package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"assay/vm"
)

// AwaitTools waits until a guest's tools run commands: try runs one that does
// nothing. A guest that does not come up is a *vm.BootError. What Boot says of
// its fields goes for b's; Dial is not asked.
func AwaitTools(ctx context.Context, b Boot, try func(context.Context) error) error {
	inner, cancel := context.WithTimeoutCause(ctx, b.Limit, fmt.Errorf("no answer from the guest's tools in %v", b.Limit))
	defer cancel()
	var gone, last error
	err := Until(inner, "waiting for the guest", func(ctx context.Context) (bool, error, error) {
		why := try(ctx)
		if why == nil || ctx.Err() != nil {
			return why == nil, last, nil // what the end of the waiting has cut off says nothing
		}
		last = why
		if gone = b.Alive(ctx); gone != nil {
			return false, nil, fmt.Errorf("%w; before: %w", gone, why)
		}
		return false, why, nil
	})
	stopped := (*vm.StoppedError)(nil)
	if err == nil || ctx.Err() != nil || gone != nil && !errors.As(gone, &stopped) {
		return err
	}
	return &vm.BootError{Err: err, Console: b.tail()}
}

// AnswerLimit bounds one question to a guest that may be starting.
const AnswerLimit = 30 * time.Second
