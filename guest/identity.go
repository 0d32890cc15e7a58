package guest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"time"
)

// A Newcomer is the identity of a machine that is about to start, in the making.
type Newcomer struct {
	id   Identity
	keys chan keyResult
	want int
}

type keyResult struct {
	key HostKey
	err error
}

// NewIdentity begins to make an identity for a clone called hostname: names,
// randomness, a MAC and, for each of keyTypes (the template's Info.HostKeys), a
// key for its ssh server. It returns at once. Keys are made meanwhile, each on a
// goroutine of its own, since an RSA key takes a tenth of a second or more.
func NewIdentity(hostname string, keyTypes []string) *Newcomer {
	var b [64 + 16 + 3]byte
	rand.Read(b[:])
	n := &Newcomer{want: len(keyTypes), keys: make(chan keyResult, len(keyTypes)), id: Identity{
		Entropy: b[:64], Hostname: hostname, MachineID: hex.EncodeToString(b[64:80]),
		MAC: net.HardwareAddr{0x52, 0x54, 0x00, b[80], b[81], b[82]}.String(),
	}}
	for _, t := range keyTypes {
		go func() {
			key, err := newHostKey(t)
			n.keys <- keyResult{key, err}
		}()
	}
	return n
}

// Identity waits for the keys, and adds the time. It may be called once.
func (n *Newcomer) Identity(ctx context.Context) (Identity, error) {
	for range n.want {
		select {
		case k := <-n.keys:
			if k.err != nil {
				return Identity{}, fmt.Errorf("host key: %w", k.err)
			}
			n.id.HostKeys = append(n.id.HostKeys, k.key)
		case <-ctx.Done():
			return Identity{}, context.Cause(ctx)
		}
	}
	n.id.Time = time.Now()
	return n.id, nil
}
