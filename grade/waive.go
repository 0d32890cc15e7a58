package grade

import (
	"fmt"

	"assay"

	"github.com/bmatcuk/doublestar/v4"
)

// waived puts the policy's waivers to a rule's drafts. A draft is split when a
// waiver is about some of its rows only. Points are taken for what is left.
func (p *Policy) waived(r *Rule, drafts []draft, today string) []drafted {
	var kept []draft
	var out []drafted
	for _, d := range drafts {
		for i := range p.waive {
			w := &p.waive[i]
			if w.Rule != r.name || today > w.Expires || len(out) == maxFindings {
				continue
			}
			hit, rest, some := split(d, w.Match)
			if !some {
				continue
			}
			out = append(out, drafted{rule: r, draft: hit, points: r.take([]draft{hit}, r.ceiling)[0], waiver: w})
			d = rest
			if len(rest.evidence) == 0 {
				break
			}
		}
		if d.message != "" {
			kept = append(kept, d)
		}
	}
	for i, points := range r.take(kept, r.ceiling) {
		out = append(out, drafted{rule: r, draft: kept[i], points: points})
	}
	return out
}

// split returns the part of d whose rows match glob, the part whose rows do
// not, and whether there is anything in the first. A part that is empty has no
// message.
func split(d draft, glob string) (hit, rest draft, some bool) {
	if glob == "" {
		return d, draft{}, true
	}
	hit, rest = d, d
	hit.evidence, rest.evidence = nil, nil
	for _, e := range d.evidence {
		if matchGlob(glob, e.Key) {
			hit.evidence = append(hit.evidence, e)
		} else {
			rest.evidence = append(rest.evidence, e)
		}
	}
	if len(hit.evidence) == 0 {
		return draft{}, d, false
	}
	if len(rest.evidence) == 0 {
		rest = draft{}
	}
	return hit, rest, true
}

// matchGlob reports whether key matches a glob as in .gitignore: ** crosses
// folders. Waivers are checked when they are made, so glob is well formed.
func matchGlob(glob, key string) bool {
	ok, err := doublestar.Match(glob, key)
	return err == nil && ok || glob == key
}

// expired returns a finding for each waiver whose day has passed: it no longer
// applies, and someone should know.
func (p *Policy) expired(today string) []drafted {
	var out []drafted
	for _, w := range p.waive {
		if today <= w.Expires {
			continue
		}
		out = append(out, drafted{
			rule: &Rule{name: "waiver-expired", axis: p.rule(w.Rule).axis, severity: assay.Info},
			draft: draft{
				message:        fmt.Sprintf("the waiver of %s expired on %s: %s", w.Rule, w.Expires, w.Reason),
				evidence:       []assay.Evidence{{Kind: "waiver", Key: w.Rule, Detail: oneLine(w.Reason, maxDetail)}},
				recommendation: "Renew the waiver with a later day, or remove it",
			},
		})
	}
	return out
}
