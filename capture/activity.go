package capture

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// activity is the live part of units: which of them systemd has loaded and
// whether they run, and the units that exist only at run time, below /run.
type activity struct{}

func (activity) Name() string    { return "activity" }
func (activity) Kinds() []string { return []string{Unit} }
func (activity) PartOf() string  { return "units" }
func (activity) Live() bool      { return true }

func (activity) Collect(ctx context.Context, src Source, out *Sink) error {
	atRuntime(src, out)
	for name, st := range running(ctx, src, out) {
		if kind := unitType(name); kind != "" {
			out.Add(Record{Unit, Escape(name), attrs("type", kind, "active", line(st.active), "sub", line(st.sub))})
		}
	}
	return ctx.Err()
}

// atRuntime emits the units whose files lie below /run. What /etc has counts
// before most of them, and may want them.
func atRuntime(src Source, out *Sink) {
	found := unitFiles(src, out, func(dir string) bool { return runtimeUnit(dir) || strings.HasPrefix(dir, "/etc/") })
	for name, p := range found.files {
		if runtimeUnit(p) {
			found.emit(name, found.stateOf(name, p, out), out)
		}
	}
}

// state is what systemd says of a loaded unit.
type state struct{ active, sub string }

// running asks systemd for the loaded units, over D-Bus or else through
// systemctl; nil when there is no systemd to ask.
func running(ctx context.Context, src Source, out *Sink) map[string]state {
	if d, ok := src.(dialer); ok {
		if found, err := askSystemd(ctx, d); err == nil {
			return found
		}
	}
	data, err := src.Run(ctx, "systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", "--type=service,timer,socket,path")
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			out.Problem("units: what runs is unknown: %v", err)
		}
		return nil
	}
	found := map[string]state{}
	for l := range strings.Lines(string(data)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(l), "●"))
		if len(f) >= 4 && f[1] != "not-found" {
			found[f[0]] = state{f[2], f[3]}
		}
	}
	return found
}

// joinUnits makes one record of all that share a unit's key, which the disk and
// the running guest tell about it: sorted, in place. If systemd was asked, what
// it has not loaded is inactive; an instance's file is its template's.
func joinUnits(sorted []Record) []Record {
	from, found := slices.BinarySearchFunc(sorted, Unit, func(r Record, kind string) int { return strings.Compare(r.Kind, kind) })
	if !found {
		return sorted
	}
	to := from
	for to < len(sorted) && sorted[to].Kind == Unit {
		to++
	}
	return slices.Replace(sorted, from, to, complete(mergeUnits(sorted[from:to]))...)
}

// mergeUnits joins neighbours of one key. It leaves the records alone.
func mergeUnits(sorted []Record) []Record {
	var out []Record
	for _, r := range sorted {
		if n := len(out); n > 0 && out[n-1].Key == r.Key {
			out[n-1].Attrs = joinUnit(out[n-1].Attrs, r.Attrs)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// joinUnit returns what a and b say together; of two files, and what is said of
// them, the one counts that systemd would read.
func joinUnit(a, b map[string]string) map[string]string {
	if unitRank(b["path"]) < unitRank(a["path"]) {
		a, b = b, a
	}
	joined := map[string]string{}
	for name, value := range b {
		joined[name] = value
	}
	for name, value := range a {
		joined[name] = value
	}
	return joined
}

// unitRank is the place of a unit's file in systemd's search.
func unitRank(p string) int {
	if i := slices.IndexFunc(unitDirs, func(dir string) bool { return strings.HasPrefix(p, dir+"/") }); i >= 0 {
		return i
	}
	return len(unitDirs)
}

// complete adds what only all units together tell.
func complete(units []Record) []Record {
	files := map[string]string{}
	asked := false
	for _, r := range units {
		files[r.Key] = r.Attrs["path"]
		asked = asked || r.Attrs["active"] != ""
	}
	for i, r := range units {
		joined := joinUnit(r.Attrs, nil)
		if joined["path"] == "" {
			setIf(joined, "path", files[template(r.Key)])
		}
		if asked && joined["active"] == "" {
			joined["active"] = "inactive"
		}
		units[i].Attrs = joined
	}
	return units
}
