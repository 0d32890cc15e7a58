// Package builtins is the Starlark face of assay: one file per verb, and the
// values that scripts see.
//
// It knows the verbs, the line to the guest, captures and grades. It knows no
// hypervisor and no SQL, and starts nothing that the engine does not own.
package builtins

import (
	"go.starlark.net/starlark"

	"assay/engine"
	"assay/grade"
)

// All lists every verb, in the order in which the manual shows them.
func All() []engine.Builtin {
	return []engine.Builtin{
		launch,
		exec,
		transfer,
		snapshot,
		restore,
		takeCapture,
		diffCaptures,
		placebo,
		gradeChanges,
		check,
		waitFor,
		subject,
		param,
		logMessage,
		allow,
	}
}

// Types lists the values that verbs return, in the order of the manual.
func Types() []*engine.Type {
	return []*engine.Type{
		machineType,
		guestPathType,
		execResultType,
		transferType,
		snapshotType,
		captureType,
		recordType,
		changesType,
		changeType,
		noiseType,
		gradeType,
		findingType,
		networkType,
	}
}

// Values returns what scripts see beside the verbs: the words with which rules
// and policies are written.
func Values() starlark.StringDict { return grade.Predeclared() }
