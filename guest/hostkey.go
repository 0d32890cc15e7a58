package guest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// rsaBits is less than ssh-keygen's 3072, which take three times as long: every
// client accepts it, and the key lives as long as a throw-away machine.
const rsaBits = 2048

// hostKeyTypes are the types that newHostKey can make.
var hostKeyTypes = []string{"ecdsa", "ed25519", "rsa"}

// newHostKey makes a key of a type of hostKeyTypes.
func newHostKey(kind string) (HostKey, error) {
	switch kind {
	case "ed25519":
		return newEd25519()
	case "ecdsa":
		return newECDSA()
	case "rsa":
		return newRSA()
	}
	return HostKey{}, fmt.Errorf("got type %q, want one of %q: %w", kind, hostKeyTypes, errors.ErrUnsupported)
}

func newEd25519() (HostKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return HostKey{}, err
	}
	return encodeKey("ed25519", "ssh-ed25519", wire(nil, public), wire(nil, public, private)), nil
}

func newECDSA() (HostKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return HostKey{}, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return HostKey{}, err
	}
	secret, err := key.Bytes()
	if err != nil {
		return HostKey{}, err
	}
	public := wire(nil, []byte("nistp256"), point)
	return encodeKey("ecdsa", "ecdsa-sha2-nistp256", public, wire(public, number(new(big.Int).SetBytes(secret)))), nil
}

func newRSA() (HostKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return HostKey{}, err
	}
	n, e := number(key.N), number(big.NewInt(int64(key.E)))
	private := wire(nil, n, e, number(key.D), number(key.Precomputed.Qinv), number(key.Primes[0]), number(key.Primes[1]))
	return encodeKey("rsa", "ssh-rsa", wire(nil, e, n), private), nil
}

// number returns n as OpenSSH writes numbers: with a zero before a first byte
// that would read as a sign.
func number(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// wire appends fields to b, each after its length.
func wire(b []byte, fields ...[]byte) []byte {
	b = b[:len(b):len(b)]
	for _, f := range fields {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return b
}

// encodeKey writes a key in OpenSSH's form (PROTOCOL.key) without a passphrase.
// public and private are the key's fields after the algorithm's name.
func encodeKey(kind, algorithm string, public, private []byte) HostKey {
	const comment = "root@assay"
	public = append(wire(nil, []byte(algorithm)), public...)
	var check [4]byte
	rand.Read(check[:])
	secret := append(append(append([]byte(nil), check[:]...), check[:]...), wire(nil, []byte(algorithm))...)
	secret = wire(append(secret, private...), []byte(comment))
	for i := byte(1); len(secret)%8 != 0; i++ {
		secret = append(secret, i)
	}
	b := append([]byte("openssh-key-v1\x00"), wire(nil, []byte("none"), []byte("none"), nil)...)
	b = binary.BigEndian.AppendUint32(b, 1) // so many keys
	b = wire(b, public, secret)
	return HostKey{
		Type:    kind,
		Private: pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: b}),
		Public:  fmt.Appendf(nil, "%s %s %s\n", algorithm, base64.StdEncoding.EncodeToString(public), comment),
	}
}
