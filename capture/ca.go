package capture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"path"
	"strings"
)

// authorities observes the certificates that the system trusts.
type authorities struct{}

func (authorities) Name() string    { return "ca" }
func (authorities) Kinds() []string { return []string{CA} }

// caPlaces are files and folders of certificates. What the package brings comes
// first, so that a certificate bears the name of the file it came in.
var caPlaces = []string{
	"/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors", "/usr/share/pki/ca-trust-source/anchors",
	"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted/pem", "/etc/ssl/cert.pem",
}

func (authorities) Collect(ctx context.Context, src Source, out *Sink) error {
	seen := map[string]bool{}
	for _, p := range caPlaces {
		st, err := src.Lstat(p)
		if err != nil {
			continue
		}
		if st.Mode&typeMask != typeDir {
			certificates(src, out, p, seen)
			continue
		}
		for _, name := range bundlesLast(entriesOf(src, out, "ca", p)) {
			certificates(src, out, path.Join(p, name), seen)
		}
	}
	return nil
}

// bundlesLast leaves out the links by hash that OpenSSL wants, and puts the
// bundle of all certificates after the files that it was made of.
func bundlesLast(names []string) []string {
	var single, bundles []string
	for _, n := range names {
		switch {
		case strings.Contains(n, "bundle"), n == "ca-certificates.crt":
			bundles = append(bundles, n)
		case strings.HasSuffix(n, ".pem"), strings.HasSuffix(n, ".crt"), strings.HasSuffix(n, ".cer"):
			single = append(single, n)
		}
	}
	return append(single, bundles...)
}

func certificates(src Source, out *Sink, p string, seen map[string]bool) {
	data, err := src.ReadFile(p, 16<<20)
	if err != nil {
		if st, lerr := src.Lstat(p); lerr == nil && st.Mode&typeMask == typeFile {
			out.Problem("ca: %s: %s", p, cause(err))
		}
		return
	}
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return
		}
		data = rest
		sum := sha256.Sum256(block.Bytes)
		key := hex.EncodeToString(sum[:])
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" || seen[key] {
			continue
		}
		seen[key] = true
		out.Add(Record{CA, key, attrs("name", line(path.Base(p)), "file", Escape(p), "subject", subject(block.Bytes))})
	}
}

// subject returns the common name, or else the last name, of a certificate's
// subject. It reads only the DER that leads there: crypto/x509 would make the
// agent larger by a third.
func subject(der []byte) string {
	body := der
	for range 2 { // Certificate, TBSCertificate
		_, inner, _, ok := tlv(body)
		if !ok {
			return ""
		}
		body = inner
	}
	tag, _, rest, ok := tlv(body)
	if ok && tag == 0xa0 { // version
		body = rest
	}
	for range 4 { // serial number, algorithm, issuer, validity
		if _, _, body, ok = tlv(body); !ok {
			return ""
		}
	}
	_, names, _, ok := tlv(body)
	if !ok {
		return ""
	}
	return lastName(names)
}

// commonName is the object identifier 2.5.4.3.
const commonName = "\x55\x04\x03"

// lastName walks a Name: a sequence of sets of pairs of identifier and string.
func lastName(names []byte) string {
	found := ""
	for len(names) > 0 {
		_, set, rest, ok := tlv(names)
		_, pair, _, ok2 := tlv(set)
		_, oid, value, ok3 := tlv(pair)
		_, s, _, ok4 := tlv(value)
		if !ok || !ok2 || !ok3 || !ok4 {
			return found
		}
		found = line(string(s))
		if string(oid) == commonName {
			return found
		}
		names = rest
	}
	return found
}

// tlv takes one DER element off b.
func tlv(b []byte) (tag byte, value, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	tag, n, b := b[0], int(b[1]), b[2:]
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 3 || len(b) < size {
			return 0, nil, nil, false
		}
		n = 0
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
		b = b[size:]
	}
	if n > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[:n], b[n:], true
}
