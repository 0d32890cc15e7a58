//go:build linux

package qemu

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"assay/vm"
)

var _ vm.Disker = (*machine)(nil)

// Mark puts a new layer on top of the machine's disk while the guest runs, and
// returns all below it. QEMU has written everything that the guest had written
// into them: it flushes a disk's tables before it leaves it.
func (m *machine) Mark(ctx context.Context) ([]vm.Layer, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
	p, err := m.process()
	if err != nil {
		return nil, err
	}
	frozen := m.chain
	if err := m.freeze(ctx, p); err != nil {
		return nil, fmt.Errorf("qemu: %s: mark: %w", m.hw.ID, p.explain(ctx, err))
	}
	layers, err := m.base()
	if err != nil {
		return nil, fmt.Errorf("qemu: %s: mark: %w", m.hw.ID, err)
	}
	for _, n := range frozen {
		layers = append(layers, vm.Layer{ID: m.layerID(n), Path: m.path(layerName(n)), Format: "qcow2"})
	}
	return layers, nil
}

// base returns what the machine's own layers lie on: the image's disk, and the
// template's if it was cloned.
func (m *machine) base() ([]vm.Layer, error) {
	img := m.hw.Image
	layers := []vm.Layer{{ID: img.Digest, Path: img.Disk, Format: img.Format}}
	if m.lease == nil {
		return layers, nil
	}
	dir := strings.TrimSuffix(m.lease.Name(), lockSuffix)
	path := filepath.Join(dir, layerName(0))
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// A template that is made again has the same name, and another content.
	id := fmt.Sprintf("template:%s@%d", filepath.Base(dir), info.ModTime().UnixNano())
	return append(layers, vm.Layer{ID: id, Path: path, Format: "qcow2"}), nil
}

// layerID names one of the machine's frozen layers. The caller has the token.
func (m *machine) layerID(n int) string {
	if m.ids[n] == "" {
		m.ids[n] = "layer:" + rand.Text()
	}
	return m.ids[n]
}

// sharedIDs names a snapshot's layers for a fork, which numbers its own layers
// on from there.
func (m *machine) sharedIDs(s snapshot) map[int]string {
	ids := make(map[int]string, len(s.layers))
	for _, n := range s.layers {
		ids[n] = m.layerID(n)
	}
	return ids
}
