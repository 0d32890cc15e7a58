package vm

import "context"

// Trimmer is a driver that keeps between runs, in its hypervisor, what makes
// launches fast, such as images.
type Trimmer interface {
	// Trim removes what nobody used for long, and returns the bytes freed. Where
	// the hypervisor cannot be asked there is nothing to remove.
	Trim(ctx context.Context) (freed int64, err error)
}
