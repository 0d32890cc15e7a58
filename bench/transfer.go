//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// bulk is the size of the file that is moved. Its bytes are random: nobody gains
// by compression.
const bulk = 100 << 20

// transferSubject asks how fast a big file gets in and out.
func transferSubject() Subject {
	return Subject{
		Name: "transfer", Reps: 3,
		Measures: []Measure{
			{Name: "in", Title: "a file of 100 MiB into a machine", Unit: "MB/s", More: true},
			{Name: "out", Title: "the same file out of the machine", Unit: "MB/s", More: true},
		},
		Contestants: []Contestant{
			{Name: "assay", What: "transfer() of a script, by its step times", Open: openTransfer},
			{Name: "scp", What: "scp over an open ControlMaster", Slow: true, Open: openSCP},
		},
	}
}

// rate is megabytes a second.
func rate(seconds float64) float64 { return bulk / 1e6 / seconds }

// bigFile makes the file that is moved, in a new folder of the stage.
func (st *Stage) bigFile() (string, error) {
	dir, err := st.folder("file")
	if err != nil {
		return "", err
	}
	st.afterwards(remove(dir))
	path := filepath.Join(dir, "file")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = io.CopyN(f, rand.Reader, bulk)
	return path, errors.Join(err, f.Close())
}

func openTransfer(_ context.Context, st *Stage) (Sampler, error) {
	path, err := st.bigFile()
	if err != nil {
		return nil, err
	}
	back := path + ".back"
	return func(ctx context.Context) (Sample, error) {
		defer os.Remove(back)
		got, err := st.script(ctx, "transfer.star", append(onImage(), "-p", "file="+path, "-p", "out="+back)...)
		if err != nil {
			return nil, err
		}
		steps, err := got.need("transfer", 2)
		if err != nil {
			return nil, err
		}
		return Sample{"in": {rate(steps[0].Seconds)}, "out": {rate(steps[1].Seconds)}}, same(path, back)
	}, nil
}

func openSCP(ctx context.Context, st *Stage) (Sampler, error) {
	path, err := st.bigFile()
	if err != nil {
		return nil, err
	}
	p, err := st.sharedPlain(ctx)
	if err != nil {
		return nil, err
	}
	m, err := p.openMaster(ctx)
	if err != nil {
		return nil, err
	}
	st.afterwards(m.close)
	back := path + ".back"
	return func(ctx context.Context) (Sample, error) {
		defer os.Remove(back)
		in, err := seconds(func() error { return m.scp(ctx, path, "guest:in") })
		if err != nil {
			return nil, err
		}
		out, err := seconds(func() error { return m.scp(ctx, "guest:in", back) })
		if err != nil {
			return nil, err
		}
		return Sample{"in": {rate(in)}, "out": {rate(out)}}, same(path, back)
	}, nil
}

// same returns an error unless two files hold the same.
func same(a, b string) error {
	x, err := fileDigest(a)
	if err != nil {
		return err
	}
	y, err := fileDigest(b)
	if err == nil && !bytes.Equal(x, y) {
		err = fmt.Errorf("%s: what came back is not what was sent", filepath.Base(b))
	}
	return err
}

func fileDigest(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
