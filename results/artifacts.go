package results

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"assay"
	"assay/platform"
)

// Artifact returns the path of the stored artifact with a digest;
// fs.ErrNotExist when there is none.
func (db *DB) Artifact(digest string) (string, error) {
	path, err := db.place(digest)
	if err == nil {
		_, err = os.Stat(path)
	}
	return path, err
}

// place returns where the artifact with a digest belongs. A digest comes from
// outside, and must not lead out of the store.
func (db *DB) place(digest string) (string, error) {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("artifact %q: not a sha256, wanted 64 hexadecimal digits: %w", digest, fs.ErrNotExist)
	}
	return filepath.Join(db.artifacts(), digest[:2], digest[2:]), nil
}

// store moves files into the store and sets their Path. It returns those that
// are there, and why the others are not.
func (db *DB) store(files []assay.Artifact) (kept []assay.Artifact, err error) {
	for i := range files {
		if failed := db.keep(&files[i]); failed != nil {
			err = errors.Join(err, fmt.Errorf("results: artifact %q: %w", files[i].Name, quoted(failed)))
			continue
		}
		kept = append(kept, files[i])
	}
	return kept, err
}

// quoted keeps the name of a file out of an error's text as it is: a guest gave it.
func quoted(err error) error {
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		return fmt.Errorf("%s %q: %w", bad.Op, bad.Path, bad.Err)
	}
	return err
}

// keep moves one file into the store, after its bytes were compared with its
// digest. A file without a Path must be there already.
func (db *DB) keep(a *assay.Artifact) error {
	if db.write == nil {
		return errReadOnly
	}
	place, err := db.place(a.Digest)
	if err != nil {
		return err
	}
	if a.Path != "" && a.Path != place {
		if err := verify(a); err != nil {
			return err
		}
		if err := move(a.Path, place); err != nil {
			return err
		}
	}
	a.Path = place
	_, err = os.Stat(place)
	return err
}

// verify compares the file at a.Path with a's digest and size.
func verify(a *assay.Artifact) error {
	f, err := os.OpenFile(a.Path, os.O_RDONLY|platform.NoFollow|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%q: not a regular file", a.Path))
	}
	hash := sha256.New()
	n, err := io.Copy(hash, f)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != a.Digest || n != a.Size {
		return fmt.Errorf("%q: %d bytes with sha256 %s, wanted %d with %s", a.Path, n, got, a.Size, a.Digest)
	}
	return nil
}

// move moves a file to its place, atomically, also from another file system.
// When the place is taken, the bytes there are the same.
func move(from, place string) error {
	if _, err := os.Stat(place); err == nil {
		return os.Remove(from)
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, place); !errors.Is(err, syscall.EXDEV) {
		return err
	}
	if err := copyTo(from, place); err != nil {
		return err
	}
	return os.Remove(from)
}

// copyTo copies a file to its place through a temporary name beside it.
func copyTo(from, place string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(place), ".artifact-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), place)
}
