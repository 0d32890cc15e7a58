package report

import "assay"

// A section is a part of the report that shows ticks and warnings.
type section int

// The sections, in the order in which they appear.
const (
	executionSection section = iota
	systemSection
	processSection
	securitySection
	dependencySection
	pathSection
	otherSection
)

// sectionOfAxis says where the rules of an axis are shown.
var sectionOfAxis = map[string]section{
	"execution":     executionSection,
	"cleanliness":   systemSection,
	"security":      securitySection,
	"portability":   dependencySection,
	"documentation": dependencySection,
}

// sectionOfRule says where a rule is shown whose axis would put it elsewhere. It
// is about layout alone: a rule that is not here is shown all the same.
var sectionOfRule = map[string]section{
	"services-added":          systemSection,
	"services-stopped":        systemSection,
	"scheduled-jobs-added":    systemSection,
	"environment-changed":     systemSection,
	"accounts-changed":        systemSection,
	"system-files-modified":   systemSection,
	"kernel-modules-loaded":   systemSection,
	"kernel-settings-changed": systemSection,
	"certificates-changed":    systemSection,
	"boot-changed":            systemSection,
	"background-processes":    processSection,
	"local-listeners":         processSection,
	"open-listeners":          processSection,
	"hardcoded-home-paths":    pathSection,
	"system-specific-paths":   pathSection,
}

// sectionOf returns where a rule of an axis is shown.
func sectionOf(rule, axis string) section {
	if s, ok := sectionOfRule[rule]; ok {
		return s
	}
	if s, ok := sectionOfAxis[axis]; ok {
		return s
	}
	return otherSection
}

// clearsIn returns the rules of a section that found nothing.
func clearsIn(g assay.Grade, s section) (list []assay.Clear) {
	for _, c := range g.Checks {
		if sectionOf(c.Rule, c.Axis) == s && c.Message != "" {
			list = append(list, c)
		}
	}
	return list
}

// findingsIn returns the findings of a section.
func findingsIn(g assay.Grade, s section) (list []assay.Finding) {
	for _, f := range g.Findings {
		if sectionOf(f.Rule, f.Axis) == s {
			list = append(list, f)
		}
	}
	return list
}
