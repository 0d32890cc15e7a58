package capture

import (
	"path"
	"strings"
)

// unstablePaths are the places whose files change by themselves on an idle guest.
// Their content is not observed: that they are there is, and who owns them, but
// not size, digest and times. The list is short on purpose: noise is measured, not
// listed, and every line hides something.
var unstablePaths = []struct{ prefix, why string }{
	{"/var/log/journal/", "journald appends; what errors it holds is kind journal"},
	{"/run/log/journal/", "journald appends; what errors it holds is kind journal"},
}

// unstable reports whether a file's content says nothing.
func unstable(p string) bool {
	for _, u := range unstablePaths {
		if strings.HasPrefix(p, u.prefix) {
			return true
		}
	}
	return false
}

// echoes are files that say again, under names that are new each time, what
// another kind of record says. They are left out, if they are what they claim.
var echoes = []struct {
	dir, pattern string
	kind         uint32
	size         int64 // at most
	why          string
}{
	{"/run/systemd/units", "invocation:*", typeLink, 4096, "systemd's number of a unit's latest start: kind unit"},
	{"/run/systemd/journal/streams", "[0-9]*:[0-9]*", typeFile, 1024, "a service's open line to journald: kinds unit and process"},
}

// echo reports whether an entry repeats what is observed elsewhere.
func echo(e entry) bool {
	if !strings.HasPrefix(e.path, "/run/systemd/") {
		return false
	}
	dir, name := path.Split(e.path)
	for _, x := range echoes {
		ok, _ := path.Match(x.pattern, name)
		if ok && dir == x.dir+"/" && e.stat.Mode&typeMask == x.kind && e.stat.Size <= x.size {
			return true
		}
	}
	return false
}
