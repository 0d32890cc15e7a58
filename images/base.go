package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	_ "embed"

	"github.com/klauspost/compress/zstd"
)

//go:embed recipe/customise.sh
var customiseScript []byte

// base is an image's files without the agent: what mmdebstrap made of today's
// packages. It is kept, so that a new agent needs neither network nor minutes.
type base struct {
	Epoch int64     `json:"source_date_epoch"` // Unix seconds: the newest file of the packages
	Made  time.Time `json:"made"`
	Tool  string    `json:"tool"` // mmdebstrap 1.3.5
	path  string    // of the tar.zst
}

// baseDigest names everything that a base depends on, but for the packages' versions.
func (k known) baseDigest() string {
	return digest([]byte(k.Suite), []byte(k.Arch), []byte(strings.Join(k.include(), ",")),
		[]byte(strings.Join(theCatalog.Pool, ",")), customiseScript, []byte(strings.Join(packageOptions, "\n")))
}

// include returns the packages that mmdebstrap is asked for.
func (k known) include() []string {
	return append(slices.Concat(theCatalog.Packages, k.extra.Packages), k.Kernel)
}

// packageOptions keep translations and manuals out: they are many files that no
// test looks at, and each costs time in every capture.
var packageOptions = []string{
	`--aptopt=Acquire::Languages "none"`,
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
}

// base returns the image's base, from the store or, if it is not there or fresh
// is set, from Debian's packages.
func (s *Store) base(ctx context.Context, k known, fresh bool, work *tempDir, progress func(string)) (base, error) {
	dir := filepath.Join(s.dir, "base", k.Name+"-"+strings.TrimPrefix(k.baseDigest(), "sha256:")[:16])
	if b, err := readBase(dir); err == nil && !fresh {
		return b, nil
	}
	fresher := filepath.Join(work.path, "base")
	if err := os.Mkdir(fresher, 0o755); err != nil {
		return base{}, err
	}
	if err := unpackPackages(ctx, k, fresher, work, progress); err != nil {
		return base{}, err
	}
	if err := syncTree(fresher); err != nil {
		return base{}, err
	}
	if err := replaceDir(fresher, dir); err != nil {
		return base{}, err
	}
	if err := s.removeBases(k.Name, dir); err != nil {
		return base{}, err
	}
	return readBase(dir)
}

func readBase(dir string) (base, error) {
	b := base{path: filepath.Join(dir, "rootfs.tar.zst")}
	data, err := readBounded(filepath.Join(dir, "base.json"), maxRecord)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, err
	}
	_, err = os.Stat(b.path)
	return b, err
}

// unpackPackages runs mmdebstrap and writes a base into dir.
func unpackPackages(ctx context.Context, k known, dir string, work *tempDir, progress func(string)) error {
	start := time.Now()
	version, err := output(ctx, 1<<10, "mmdebstrap", "--version")
	if err != nil {
		return err
	}
	found, err := packBase(filepath.Join(dir, "rootfs.tar.zst"), start, func(w io.Writer) error {
		return debootstrap(ctx, k, work, w, progress)
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(base{Epoch: found.epoch, Made: start, Tool: strings.TrimSpace(version)})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "base.json"), data, 0o644)
}

// packBase compresses the tar stream that fill writes into a file, and scans it
// on its way.
func packBase(path string, start time.Time, fill func(io.Writer) error) (*rootfs, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zw, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	found, err := whileScanning(start.Truncate(time.Second), func(scanner io.Writer) error {
		return fill(io.MultiWriter(zw, scanner))
	})
	return found, errors.Join(err, zw.Close(), f.Close())
}

// whileScanning gives fill a writer, and scans what is written to it.
func whileScanning(limit time.Time, fill func(io.Writer) error) (*rootfs, error) {
	r, w := io.Pipe()
	type result struct {
		found *rootfs
		err   error
	}
	done := make(chan result, 1)
	go func() {
		found, err := scan(r, limit)
		r.CloseWithError(err)
		done <- result{found, err}
	}()
	err := fill(w)
	w.CloseWithError(err)
	res := <-done
	if err != nil && (res.err == nil || errors.Is(res.err, err)) {
		return nil, err
	}
	return res.found, res.err
}

// maxRetries bounds how often a build is begun again without packages that the
// mirror lists and does not have.
const maxRetries = 4

// debootstrap writes the image's files to w as a tar stream. Mirrors sometimes list a package before they have it: then its
// next older version is taken.
func debootstrap(ctx context.Context, k known, work *tempDir, w io.Writer, progress func(string)) error {
	var absent []absentPackage
	for try := 0; ; try++ {
		err := debootstrapWithout(ctx, k, absent, work, w, progress)
		if err == nil || try == maxRetries {
			return err
		}
		more := findAbsent(err)
		if len(more) == 0 {
			return err
		}
		for _, p := range more {
			progress("the mirror lists " + p.name + " " + p.version + " but does not have it; taking an older one")
		}
		absent = append(absent, more...)
	}
}

// absentPackage is a package that a mirror lists and does not have.
type absentPackage struct{ name, version string }

var absentRE = regexp.MustCompile(`Failed to fetch \S*/([^/_\s]+)_([^/_\s]+)_[a-z0-9]+\.deb\s+404\b`)

// findAbsent returns the packages that a failed mmdebstrap could not fetch.
func findAbsent(err error) []absentPackage {
	var failed *commandError
	if !errors.As(err, &failed) {
		return nil
	}
	var list []absentPackage
	for _, m := range absentRE.FindAllStringSubmatch(failed.Stderr, -1) {
		version, err := url.PathUnescape(m[2])
		p := absentPackage{m[1], version}
		if err == nil && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// pins returns apt preferences that keep apt from choosing the absent packages.
// A file's name lacks the version's epoch, hence the star.
func pins(absent []absentPackage) []byte {
	var b bytes.Buffer
	for _, p := range absent {
		fmt.Fprintf(&b, "Package: %s\nPin: version *%s\nPin-Priority: -1\n\n", p.name, p.version)
	}
	return b.Bytes()
}

// debootstrapWithout runs mmdebstrap once.
func debootstrapWithout(ctx context.Context, k known, absent []absentPackage, work *tempDir, w io.Writer, progress func(string)) error {
	hook, pinned := filepath.Join(work.shared, "customise.sh"), filepath.Join(work.shared, "pins")
	if err := errors.Join(os.WriteFile(hook, customiseScript, 0o755), os.WriteFile(pinned, pins(absent), 0o644)); err != nil {
		return err
	}
	argv := append([]string{"mmdebstrap", "--mode=" + mode(), "--variant=minbase", "--format=tar",
		"--architectures=" + k.Arch, "--skip=cleanup/apt/lists", "--include=" + strings.Join(k.include(), ","),
		"--setup-hook=cp " + shellQuote(pinned) + ` "$1/etc/apt/preferences.d/assay-build"`,
		"--customize-hook=sh " + shellQuote(hook) + ` "$1" ` + strings.Join(theCatalog.Pool, " ")}, packageOptions...)
	return command{
		argv:   append(argv, k.Suite, "-"),
		env:    toolEnv("TMPDIR=" + work.shared),
		stdout: w,
		jail:   true,
		line: func(line string) {
			if phase := phaseOf(line); phase != "" {
				progress(phase)
			}
		},
	}.run(ctx)
}

// shellQuote makes one word of a shell's line.
func shellQuote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// mode returns how mmdebstrap becomes root in the image's files.
func mode() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return "unshare"
}

// phaseOf returns what a line of mmdebstrap's says that it is doing, in words
// for a person; empty: nothing new.
func phaseOf(line string) string {
	for _, p := range []struct{ said, phase string }{
		{"I: running apt-get update", "reading Debian's package lists"},
		{"I: downloading packages with apt", "downloading packages"},
		{"I: extracting archives", "unpacking packages"},
		{"I: installing essential packages", "installing essential packages"},
		{"I: installing remaining packages", "installing packages"},
		{"I: running --customize-hook", "setting up the guest"},
		{"I: creating tarball", "packing the files"},
	} {
		if strings.HasPrefix(line, p.said) {
			return p.phase
		}
	}
	return ""
}
