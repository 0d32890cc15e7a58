package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// fileDigest returns the sha256 of a file in hex, and its size.
func fileDigest(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// HostPath returns the absolute path of a host file that the script may read: a
// parameter's path or one below it, what the cell itself fetched, or a path in
// the script's folder. A link may not lead out of there.
func (s *Session) HostPath(path string) (string, error) {
	if p, ok := s.givenPath(path); ok {
		return p, nil
	}
	fetched := filepath.Join(s.dir, "artifacts")
	for _, root := range []string{fetched, s.ScriptDir()} {
		p := path
		if !filepath.IsAbs(p) {
			p = filepath.Join(root, p)
		}
		if real, ok := below(root, p); ok {
			if _, err := os.Lstat(real); err == nil || root != fetched {
				return real, nil
			}
		}
	}
	return "", Scriptf("path: %s: got a path outside the script's folder, want one in it, or a parameter such as -p dir=%s", path, path)
}

// TargetPath returns the absolute path of a host file that the script may
// write: a parameter's path or one below it, else one that is kept beside the
// results, and kept is true.
func (s *Session) TargetPath(path string) (abs string, kept bool, err error) {
	if p, ok := s.givenPath(path); ok {
		return p, false, nil
	}
	if !filepath.IsLocal(path) {
		return "", false, Scriptf("path: %s: got a path outside the results, want a relative one, or a parameter such as -p out=%s", path, path)
	}
	abs, err = s.Scratch(path)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(abs), 0o700)
	}
	return abs, true, err
}

// givenPath resolves a path that is a parameter of the user's, or below one,
// from the user's working folder.
func (s *Session) givenPath(path string) (string, bool) {
	for _, given := range s.job.Given {
		if given == "" || path != given && !strings.HasPrefix(path, strings.TrimSuffix(given, "/")+"/") {
			continue
		}
		root := absolute(s.job.Dir, given)
		if abs := absolute(s.job.Dir, path); abs == root {
			return abs, true
		} else if real, ok := below(root, abs); ok {
			return real, true
		}
	}
	return "", false
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// below resolves the links in path, as far as it exists, and reports whether it
// lies in root.
func below(root, path string) (string, bool) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", false
	}
	real, rest := path, ""
	for {
		r, err := filepath.EvalSymlinks(real)
		if err == nil {
			real = filepath.Join(r, rest)
			break
		}
		if _, err := os.Lstat(real); err == nil {
			return "", false // a link to nowhere
		}
		if parent := filepath.Dir(real); parent != real {
			real, rest = parent, filepath.Join(filepath.Base(real), rest)
			continue
		}
		return "", false
	}
	rel, err := filepath.Rel(root, real)
	return real, err == nil && filepath.IsLocal(rel)
}
