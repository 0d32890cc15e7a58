package capture

import "strings"

// unstablePaths are the places whose content changes by itself on an idle guest.
// Their files are observed, and that they are there is compared; their size,
// content and times are not. The list is short on purpose: noise is measured, not
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
