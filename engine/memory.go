package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// MemoryLimit is how many bytes of objects a child may hold. A script alone
// needs a few MiB; captures of a large machine some hundred.
const MemoryLimit = 768 << 20

// errMemory is the cause of a context that ended because of MemoryLimit.
var errMemory error = &ScriptError{Err: fmt.Errorf("script used more than %d MiB of memory", MemoryLimit>>20)}

// exitMemory is how a child exits that could not stop growing.
const exitMemory = 86

// dataLimit is how many bytes a child may take while its script computes. A
// single operation of Starlark can allocate gigabytes and cannot be cut short:
// beyond this the kernel refuses, and the child ends.
const dataLimit = 2 << 30

// ranOut reports whether words hold what Go says when the kernel gives no more
// memory.
func ranOut(words []byte) bool {
	return bytes.Contains(words, []byte("fatal error: ")) &&
		(bytes.Contains(words, []byte("out of memory")) || bytes.Contains(words, []byte("cannot allocate memory")))
}

// watchMemory calls trip once if this process holds more than MemoryLimit, and
// ends the process if it then grows on to four times as much.
func watchMemory(ctx context.Context, trip func(error)) {
	debug.SetMemoryLimit(MemoryLimit / 8 * 7) // collect harder before the limit is reached
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		metrics.Read(sample)
		switch held := sample[0].Value.Uint64(); {
		case held > 4*MemoryLimit:
			os.Exit(exitMemory)
		case held > MemoryLimit:
			trip(errMemory)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// isMemory reports whether err is errMemory.
func isMemory(err error) bool { return errors.Is(err, errMemory) }
