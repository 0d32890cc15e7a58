package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay"
	"assay/capture"
	"assay/guest"
	"assay/vm"
)

// The machine that proves an image.
const (
	proofCPUs   = 2
	proofMemory = 1 << 30
)

// Deadlines of a proof. They are generous: two emulated CPUs may be shared by
// many, and an imported image does its whole first boot.
const (
	answerDeadline = 10 * time.Minute
	settleDeadline = 15 * time.Minute
)

// proof is one boot of an image that is not in the store yet.
type proof struct {
	driver   vm.Driver
	scratch  string
	progress func(string)
}

// boot boots the image of rec cold on a throw-away layer, and puts into rec what
// the guest says of itself. The capture of the untouched guest goes to a file
// beside the disk.
func (p proof) boot(ctx context.Context, rec *Record) error {
	p.progress("booting it once")
	start := time.Now()
	err := p.machine(ctx, rec.Image, func(c *guest.Client) error {
		rec.Boot = time.Since(start).Seconds()
		if err := settle(ctx, c); err != nil {
			return err
		}
		if err := learn(ctx, c, rec); err != nil {
			return err
		}
		p.progress("capturing it untouched")
		return record(ctx, c, rec)
	})
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	rec.Booted = true
	return nil
}

// machine runs do with the agent of a machine made for it.
func (p proof) machine(ctx context.Context, img vm.Image, do func(*guest.Client) error) (err error) {
	dir, err := os.MkdirTemp(p.scratch, "assay-boot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m, err := p.driver.Launch(ctx, vm.Spec{
		Name: "proof", Owner: filepath.Base(dir), Dir: dir, Image: img,
		CPUs: proofCPUs, Memory: proofMemory, Cold: true, Network: vm.Network{Mode: vm.NetworkNone},
		Progress: p.progress,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	answer, cancel := context.WithTimeoutCause(ctx, answerDeadline, fmt.Errorf("no answer from the agent in %v", answerDeadline))
	defer cancel()
	conn, err := m.Dial(answer)
	if err != nil {
		return err
	}
	c, err := guest.Connect(answer, conn)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// settle waits until the guest has done what it does at boot. A unit that failed
// is the image's own business, so the answer does not matter.
func settle(ctx context.Context, c *guest.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleDeadline, fmt.Errorf("still starting after %v", settleDeadline))
	defer cancel()
	_, err := c.Exec(ctx, guest.Command{
		// cloud-init ends with an error when any of its modules had one.
		Shell: "if command -v cloud-init >/dev/null && [ ! -e /etc/cloud/cloud-init.disabled ]; then cloud-init status --wait; fi; systemctl is-system-running --wait",
		User:  "root", Timeout: settleDeadline,
	}, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("waiting for the guest to settle: %w", err)
	}
	return nil
}

// learn reads the guest's own words on what it is.
func learn(ctx context.Context, c *guest.Client, rec *Record) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if info.OS.ID == "" || info.User == "" {
		return fmt.Errorf("guest: got operating system %q and user %q, want both", info.OS.ID, info.User)
	}
	img := rec.Image
	if rec.How == "build" && (info.OS.ID != img.OS || info.OS.Version != img.Version) {
		return fmt.Errorf("guest: got %q %q, want %s %s", info.OS.ID, info.OS.Version, img.OS, img.Version)
	}
	rec.OS = info.OS
	rec.OS.Key = assay.VersionKey(info.OS.Version)
	return nil
}

// record keeps what files the image holds as its manifest. Where the host cannot
// read the disk, the guest tells.
func record(ctx context.Context, c *guest.Client, rec *Record) error {
	opt := capture.Options{Image: rec.Image.Digest}
	got, err := capture.OfDisk(ctx, []vm.Layer{{ID: rec.Image.Digest, Path: rec.Image.Disk, Format: rec.Image.Format}}, opt)
	if unread := (*capture.UnreadError)(nil); errors.As(err, &unread) {
		got, err = capture.Take(ctx, c, opt)
	}
	if err != nil {
		return err
	}
	rec.Image.Manifest = filepath.Join(filepath.Dir(rec.Image.Disk), "manifest")
	return capture.WriteManifest(rec.Image.Manifest, got)
}
