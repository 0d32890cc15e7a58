package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"assay"
)

const schemaFile = "../docs/report.schema.json"

// validate fails unless text is as the published schema says.
func validate(t *testing.T, text []byte) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	must(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(t, err)
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v", err)
	}
}

// Every JSON report is as the published schema says, also an odd one, and
// gives back the run.
func TestJSONIsAsPublished(t *testing.T) {
	runs := fixtures()
	runs["nothing"] = assay.Run{}
	runs["hollow"] = assay.Run{Cells: []*assay.Cell{{Diffs: []assay.Diff{{}}, Captures: []assay.Capture{{}}, Steps: []assay.Step{{Exec: &assay.Exec{}}},
		Grades: []assay.Grade{{Score: math.NaN(), Findings: []assay.Finding{{Severity: assay.Low}}}}}}}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			must(t, JSON(&b, run))
			validate(t, b.Bytes())
			var got assay.Run
			must(t, json.Unmarshal(b.Bytes(), &got))
			var again bytes.Buffer
			must(t, JSON(&again, got))
			if b.String() != again.String() {
				t.Error("read back, the run gives another report")
			}
		})
	}
}

// A report that is not as the schema says is noticed: the schema is not lax.
func TestSchemaNotices(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	must(t, err)
	var b bytes.Buffer
	must(t, JSON(&b, fixtures()["flawed"]))
	for old, new := range map[string]string{
		`"verdict": "warn"`:           `"verdict": "splendid"`,
		`"severity": "HIGH"`:          `"severity": "high"`,
		`"format": "assay.report/1"`:  `"format": "assay.report/2"`,
		`"boot_seconds": 0.4`:         `"boot_seconds": "0.4"`,
		`"rule": "stray-files"`:       `"rules": "stray-files"`,
		`"started": "2026-11-23T13:0`: `"begun": "2026-11-23T13:0`,
	} {
		text := strings.Replace(b.String(), old, new, 1)
		if text == b.String() {
			t.Errorf("%s is not in the report", old)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		must(t, err)
		if schema.Validate(value) == nil {
			t.Errorf("%s: valid, wanted a complaint", new)
		}
	}
}

// definition is what the schema says about one struct.
type definition struct {
	Description string
	Required    []string
	Properties  map[string]map[string]any
	Additional  *bool `json:"additionalProperties"`
}

// The schema describes every field of every struct, and nothing else.
func TestSchemaDescribesAll(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	must(t, err)
	var schema struct {
		definition
		Defs map[string]definition `json:"$defs"`
	}
	must(t, json.Unmarshal(text, &schema))
	must(t, json.Unmarshal(text, &schema.definition))
	delete(schema.Properties, "format") // ours, not the run's
	schema.Required = slices.DeleteFunc(schema.Required, func(name string) bool { return name == "format" })
	seen := map[string]bool{}
	compare(t, reflect.TypeFor[assay.Run](), schema.definition, schema.Defs, seen)
	for name := range schema.Defs {
		if !seen[name] {
			t.Errorf("$defs/%s describes nothing", name)
		}
	}
}

// compare compares a struct, and those that it holds, with its definition.
func compare(t *testing.T, of reflect.Type, d definition, defs map[string]definition, seen map[string]bool) {
	if d.Description == "" || d.Additional == nil || *d.Additional {
		t.Errorf("%s: has no description, or allows what is not described", of.Name())
	}
	left := map[string]bool{}
	for name := range d.Properties {
		left[name] = true
	}
	for _, field := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || field.Anonymous {
			continue
		}
		property, ok := d.Properties[name]
		if !ok || fmt.Sprint(property["description"]) == "<nil>" {
			t.Errorf("%s.%s: not described", of.Name(), name)
		}
		if required := !strings.Contains(options, "omitempty"); slices.Contains(d.Required, name) != required {
			t.Errorf("%s.%s: required must be %v", of.Name(), name, required)
		}
		delete(left, name)
		if inner := structIn(field.Type); inner != nil && !seen[inner.Name()] {
			seen[inner.Name()] = true
			compare(t, inner, defs[inner.Name()], defs, seen)
		}
	}
	for name := range left {
		t.Errorf("%s.%s: described, and there is no such field", of.Name(), name)
	}
}

// structIn returns the struct of package assay that a type holds; nil for none.
func structIn(of reflect.Type) reflect.Type {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() == reflect.Struct && of.PkgPath() == "assay" {
		return of
	}
	return nil
}
