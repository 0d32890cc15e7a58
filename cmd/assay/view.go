package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"assay"
	"assay/engine"
)

// A view shows a run while it goes on: one live line for each running cell on a
// terminal, plain lines elsewhere, events as JSON lines if that is asked for.
type view struct {
	out    io.Writer     // progress: standard error
	json   *json.Encoder // of standard output; nil without --json
	width  int           // of the terminal; 0: plain lines
	colour bool

	mu    sync.Mutex
	cells []*cellView // the running ones, in the order of their start
	drawn int         // live lines on the screen
	muted bool        // while somebody uses the terminal
	stop  chan struct{}
	once  sync.Once
	done  sync.WaitGroup
}

// A cellView is what is known of one running cell.
type cellView struct {
	id      string
	step    *assay.Step
	doing   string // the phase of the step
	started time.Time
	told    time.Duration // age of the step when a plain line last told it
}

// slow is when a step begins to say what it is doing.
const slow = time.Second

func (a *app) newView(asJSON bool) *view {
	v := &view{out: a.stderr, stop: make(chan struct{})}
	v.width, v.colour = screen(a.stderr)
	if asJSON {
		v.json = json.NewEncoder(a.stdout)
	}
	v.done.Go(v.tick)
	return v
}

// tick redraws the live lines, or tells of slow steps.
func (v *view) tick() {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-v.stop:
			return
		case now := <-every.C:
			v.mu.Lock()
			if v.width > 0 {
				v.draw(now)
			} else {
				v.tellSlow(now)
			}
			v.mu.Unlock()
		}
	}
}

// close takes the live lines away. It may be called again.
func (v *view) close() {
	v.once.Do(func() { close(v.stop) })
	v.done.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.erase()
}

// event shows one event.
func (v *view) event(e engine.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.json != nil {
		_ = v.json.Encode(e) // a reader that is gone wants no more
	}
	switch e.Kind {
	case engine.CellStart:
		v.cells = append(v.cells, &cellView{id: e.Cell, started: e.Time})
		v.line(e.Cell, "started")
	case engine.StepStart:
		if c := v.cell(e.Cell); c != nil {
			c.step, c.doing, c.started, c.told = e.Step, "", e.Time, 0
		}
	case engine.Phase:
		if c := v.cell(e.Cell); c != nil {
			c.doing = e.Text
		}
	case engine.Log:
		v.line(e.Cell, e.Text)
	case engine.StepEnd:
		v.stepEnd(e)
	case engine.CellEnd:
		v.cellEnd(e)
	}
	if v.width > 0 && v.drawn == 0 {
		v.draw(time.Now())
	}
}

func (v *view) cell(id string) *cellView {
	for _, c := range v.cells {
		if c.id == id {
			return c
		}
	}
	return nil
}

// stepEnd tells of steps that took long or failed; the report has them all.
func (v *view) stepEnd(e engine.Event) {
	if c := v.cell(e.Cell); c != nil {
		c.step = nil
	}
	if e.Step == nil {
		return
	}
	took := time.Duration(e.Step.Seconds * float64(time.Second))
	text := describe(e.Step)
	switch {
	case e.Step.Error != "":
		v.line(e.Cell, failing(e.Step))
	case took >= slow:
		v.line(e.Cell, text+"  "+seconds(took))
	}
}

func (v *view) cellEnd(e engine.Event) {
	for i, c := range v.cells {
		if c.id == e.Cell {
			v.cells = append(v.cells[:i], v.cells[i+1:]...)
			break
		}
	}
	text := string(e.Verdict)
	if e.Text != "" {
		text += ": " + e.Text
	}
	v.line(e.Cell, text)
}

func describe(s *assay.Step) string { return strings.TrimSpace(s.Verb + " " + s.Detail) }

// failing says what a step that failed was about and why it failed, nothing twice.
func failing(s *assay.Step) string {
	why := strings.TrimPrefix(s.Error, s.Verb+": ")
	if why == s.Detail {
		return s.Verb + ": " + why
	}
	return describe(s) + ": " + why
}

// line prints a line that stays, above the live ones.
func (v *view) line(cell, text string) {
	v.erase()
	n := 400
	if v.width > 0 {
		n = max(v.width-len([]rune(cell))-2, 20)
	}
	fmt.Fprintf(v.out, "%s  %s\n", v.dim(oneLine(cell, 200)), oneLine(text, n))
}

func (v *view) dim(s string) string {
	if !v.colour {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

// erase takes the live lines away.
func (v *view) erase() {
	if v.drawn > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

// draw draws one live line for each running cell.
func (v *view) draw(now time.Time) {
	if v.muted {
		return
	}
	v.erase()
	for _, c := range v.cells {
		fmt.Fprintln(v.out, oneLine(c.text(now), v.width-1))
		v.drawn++
	}
}

// text says what a cell is doing, and for how long.
func (c *cellView) text(now time.Time) string {
	doing := "evaluating the script"
	if c.step != nil {
		doing = describe(c.step)
	}
	if c.doing != "" && c.step != nil {
		doing += ": " + c.doing
	}
	return fmt.Sprintf("%s  %s  %s", c.id, seconds(now.Sub(c.started)), doing)
}

// tellSlow tells of slow steps after 1, 5, 10 seconds, and then every 10.
func (v *view) tellSlow(now time.Time) {
	for _, c := range v.cells {
		age := now.Sub(c.started)
		if c.step == nil || v.muted || age < nextTelling(c.told) {
			continue
		}
		c.told = age
		text := describe(c.step)
		if c.doing != "" {
			text += ": " + c.doing
		}
		fmt.Fprintf(v.out, "%s  … %s  %s so far\n", oneLine(c.id, 200), oneLine(text, 300), seconds(age))
	}
}

// nextTelling is the age at which a step that was told of at that age is told of again.
func nextTelling(told time.Duration) time.Duration {
	switch {
	case told == 0:
		return slow
	case told < 5*time.Second:
		return 5 * time.Second
	case told < 10*time.Second:
		return 10 * time.Second
	}
	return told + 10*time.Second
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// A progress shows the phases of one long piece of work outside a run, such as
// building an image.
type progress struct {
	v    *view
	cell string
	mu   sync.Mutex
	any  bool
}

func (a *app) newProgress(name string) *progress {
	return &progress{v: a.newView(false), cell: name}
}

// phase tells what the work is doing now.
func (p *progress) phase(text string) {
	p.mu.Lock()
	first := !p.any
	p.any = true
	p.mu.Unlock()
	if first {
		p.v.event(engine.Event{Time: time.Now(), Cell: p.cell, Kind: engine.CellStart})
	} else {
		p.v.event(engine.Event{Time: time.Now(), Cell: p.cell, Kind: engine.StepEnd})
	}
	p.v.event(engine.Event{Time: time.Now(), Cell: p.cell, Kind: engine.StepStart, Step: &assay.Step{Verb: text}})
	if p.v.width == 0 {
		p.v.mu.Lock()
		p.v.line(p.cell, text)
		p.v.mu.Unlock()
	}
}

// said reports whether there was anything to tell.
func (p *progress) said() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.any
}

func (p *progress) close() { p.v.close() }
