package capture

import (
	"fmt"
	"sync"
	"unicode/utf8"
)

// A Sink takes what collectors find. It is safe for concurrent use, and bounds
// what it takes: what does not fit is a problem, not a failure.
type Sink struct {
	mu       sync.Mutex
	emit     func(Record) // called one at a time
	problems []string
	dropped  int // problems past maxProblems
	count    int
	bytes    int64
	full     bool
}

func newSink(emit func(Record)) *Sink { return &Sink{emit: emit} }

// Add takes one record. The caller must not touch its attributes again.
func (s *Sink) Add(r Record) { s.accepts(r) }

// accepts is Add, and reports whether the record was taken.
func (s *Sink) accepts(r Record) bool {
	size := int64(len(r.Kind) + len(r.Key))
	for k, v := range r.Attrs {
		size += int64(len(k) + len(v))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := s.fits(r, size)
	if fits {
		s.count++
		s.bytes += size
		s.emit(r)
	}
	return fits
}

// fits reports whether the bounds allow r, and notes a problem when they don't.
func (s *Sink) fits(r Record, size int64) bool {
	switch {
	case s.full:
		return false
	case s.count >= maxRecords || s.bytes+size > maxTotal:
		s.full = true
		s.problem(fmt.Sprintf("capture: cut after %d records of %d bytes: a capture holds at most %d records of %d bytes", s.count, s.bytes, maxRecords, maxTotal))
		return false
	case len(r.Key) > maxKey:
		s.problem(fmt.Sprintf("%s: %s: key of %d bytes left out, at most %d", r.Kind, cut(r.Key, 80), len(r.Key), maxKey))
		return false
	}
	for k, v := range r.Attrs {
		if len(v) > maxAttr || !utf8.ValidString(v) {
			s.problem(fmt.Sprintf("%s: %s: attribute %s of %d bytes left out: want UTF-8 of at most %d", r.Kind, cut(r.Key, 80), k, len(v), maxAttr))
			return false
		}
	}
	return true
}

// Problem notes what could not be observed, and why, in one line.
func (s *Sink) Problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem(fmt.Sprintf(format, args...))
}

func (s *Sink) problem(text string) {
	if len(s.problems) >= maxProblems {
		s.dropped++
		return
	}
	s.problems = append(s.problems, cut(Escape(text), maxProblem))
}

// Problems returns what was noted so far, and how much more there was.
func (s *Sink) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped == 0 {
		return s.problems
	}
	return append(s.problems[:len(s.problems):len(s.problems)], fmt.Sprintf("capture: %d more problems", s.dropped))
}
