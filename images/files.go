package images

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

	"assay/platform"
)

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: got more than %d bytes, want fewer", path, limit)
	}
	return data, err
}

// writeFile writes a file atomically and durably.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// digestFile returns sha256:… of a file's bytes.
func digestFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// agentDigest returns sha256:… of an agent's bytes.
func agentDigest(agent []byte) string {
	h := sha256.Sum256(agent)
	return "sha256:" + hex.EncodeToString(h[:])
}

// digest returns sha256:… of parts, each with its length before it, so that
// moving a byte from one part to the next changes the digest.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func stampOf(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{Size: info.Size(), Mtime: info.ModTime().UnixNano()}, nil
}

// syncTree makes every file of a folder durable.
func syncTree(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return syncDir(path)
	})
	return errors.Join(err, syncDir(dir))
}

// syncDir makes a folder's entries, or a file's bytes, durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// replaceDir moves dir to final. If final exists it is replaced in one step, so
// that no reader finds it missing.
func replaceDir(dir, final string) error {
	err := os.Rename(dir, final)
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	if err := platform.ExchangeDirs(dir, final); err != nil {
		return &os.LinkError{Op: "exchange", Old: dir, New: final, Err: err}
	}
	return os.RemoveAll(dir)
}

// occupied returns the bytes that a tree's files occupy, holes left out.
func occupied(path string) int64 {
	var n int64
	filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += platform.Occupied(info)
		}
		return nil
	})
	return n
}

// needRoom returns an error if the file system of dir has less than need bytes free.
func needRoom(dir string, need int64) error {
	free, err := platform.FreeSpace(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if free >= need {
		return nil
	}
	return fmt.Errorf("%s: got %s free, want at least %s while an image is made; free some or set ASSAY_HOME",
		dir, mebibytes(free), mebibytes(need))
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
