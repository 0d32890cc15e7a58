package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"assay"
	"assay/vm"
)

// A PlaceboPolicy says when a machine under test gets a twin that does nothing.
type PlaceboPolicy string

// The values of PlaceboPolicy.
const (
	PlaceboAuto   PlaceboPolicy = "auto" // where too little is known of the image
	PlaceboAlways PlaceboPolicy = "always"
	PlaceboNever  PlaceboPolicy = "never"
)

// A PlaceboQuery asks what is known of machines that did nothing.
type PlaceboQuery struct {
	Image string // digest
	Scope string // as in assay.Placebo: its own are wanted, and those without one
	Cell  string // id of the cell that asks
}

// A PlaceboHistory is what earlier runs know of machines that did nothing.
type PlaceboHistory struct {
	Placebos []assay.Placebo // newest first
	Newest   time.Time       // when the first of them was made
	Seconds  float64         // between the captures that the same cell compared last; 0: it never did
}

// Placebos returns what is known of machines of an image that did nothing: from
// earlier runs, and from this cell. Those that are not to be had are logged and
// left out: a diff without them is only noisier.
func (s *Session) Placebos(ctx context.Context, image, scope string) PlaceboHistory {
	q := PlaceboQuery{Image: image, Scope: scope, Cell: s.job.Cell.ID}
	s.mu.Lock()
	known := s.placebos[q]
	s.mu.Unlock()
	if known == nil {
		known = &PlaceboHistory{}
		if s.env.Placebos != nil {
			h, err := s.env.Placebos(ctx, q)
			if err != nil {
				s.Log(fmt.Sprintf("placebo: what earlier runs know is not to be had: %v", err))
			}
			known = &h
		}
		s.mu.Lock()
		s.placebos[q] = known
		s.mu.Unlock()
	}
	h := *known
	h.Placebos = append(s.ownPlacebos(image, scope), h.Placebos...)
	return h
}

// ownPlacebos returns those that this cell made.
func (s *Session) ownPlacebos(image, scope string) (own []assay.Placebo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.cell.Placebos {
		if p.Image == image && (p.Scope == "" || p.Scope == scope) {
			own = append(own, p)
		}
	}
	return own
}

// AddPlacebo stores p with the cell; Placebos returns it from now on.
func (s *Session) AddPlacebo(p assay.Placebo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell.Placebos = append(s.cell.Placebos, p)
}

// PlaceboPolicy returns what the user wants.
func (s *Session) PlaceboPolicy() PlaceboPolicy {
	if s.job.Placebo == "" {
		return PlaceboAuto
	}
	return s.job.Placebo
}

// Scope names what this cell's steps make of a machine: the same for every run
// of the same script with the same parameters, and for no other.
func (s *Session) Scope() string {
	c := s.job.Cell
	text, _ := json.Marshal([]any{c.Digest, c.Test, c.Variant, c.Params}) // strings can be marshalled
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// ErrNoRoom says that the host has no room to spare for a twin.
var ErrNoRoom = errors.New("no room to spare")

// Twin forks a machine that is no part of the test from a snapshot of parent,
// called PARENT.twin: scripts cannot take that name. Real machines come first: it
// takes no processor, does not wait for memory (then the error is ErrNoRoom), and
// is destroyed as soon as another machine needs its memory, or Discard is called,
// or the script ends. It must be called from Beside.
func (s *Session) Twin(ctx context.Context, parent vm.Machine, snapshot string) (vm.Machine, error) {
	spec, driver, err := s.twinSpec(parent)
	if err != nil {
		return nil, err
	}
	f, err := vm.As[vm.Forker](parent)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	own := &machine{spec: spec, driver: driver, twin: true}
	revoke := func() {
		cancel(ErrNoRoom)
		s.Discard(own)
	}
	if !s.host.spare(ctx, spec.Memory, revoke) {
		return nil, ErrNoRoom
	}
	if err := os.Mkdir(spec.Dir, 0o700); err != nil {
		s.host.release(0, spec.Memory)
		return nil, &InfraError{Err: err}
	}
	if own.Machine, err = f.Fork(ctx, snapshot, spec); err != nil {
		s.host.release(0, spec.Memory)
		return nil, errors.Join(err, context.Cause(ctx), os.RemoveAll(spec.Dir))
	}
	err = s.book(own)
	if ctx.Err() != nil { // revoked before it was booked
		err = errors.Join(context.Cause(ctx), s.Discard(own))
	}
	return own, err
}

// twinSpec describes the twin of a machine of this session, and says which
// driver made that.
func (s *Session) twinSpec(parent vm.Machine) (vm.Spec, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.machines, func(m *machine) bool { return vm.Machine(m) == parent })
	if i < 0 {
		return vm.Spec{}, "", fmt.Errorf("twin: %s: not a machine of this cell", parent.ID())
	}
	spec := s.machines[i].spec
	driver := s.machines[i].driver
	spec.Name += ".twin"
	spec.CPUs, spec.Progress, spec.Dir = 0, nil, filepath.Join(s.dir, spec.Name)
	if slices.ContainsFunc(s.machines, func(m *machine) bool { return m.spec.Name == spec.Name }) {
		return spec, driver, fmt.Errorf("twin: %s has one already", parent.ID())
	}
	return spec, driver, nil
}

// Discard destroys a machine of the session before its end. One that is gone
// already is left alone.
func (s *Session) Discard(m vm.Machine) error {
	s.mu.Lock()
	i := slices.IndexFunc(s.machines, func(own *machine) bool { return vm.Machine(own) == m })
	if i < 0 {
		s.mu.Unlock()
		return nil
	}
	own := s.machines[i]
	s.machines = slices.Delete(s.machines, i, i+1)
	s.mu.Unlock()
	return s.closeMachine(own)
}

// Beside runs f beside the script, in a goroutine of its own. f's context ends
// when the script does, and the cell goes on when f has returned.
func (s *Session) Beside(f func(ctx context.Context)) {
	s.mu.Lock()
	if s.beside == nil {
		s.beside, s.stopBeside = context.WithCancel(s.ctx)
	}
	ctx := s.beside
	s.mu.Unlock()
	s.besides.Go(func() { f(ctx) })
}

// endBeside ends what runs beside the script, and destroys the twins.
func (s *Session) endBeside() {
	s.mu.Lock()
	stop := s.stopBeside
	s.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	s.besides.Wait()
	for _, m := range s.twins() {
		if err := s.Discard(m); err != nil {
			s.Log(fmt.Sprintf("placebo: %v", err))
		}
	}
}

func (s *Session) twins() (all []*machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if m.twin {
			all = append(all, m)
		}
	}
	return all
}
