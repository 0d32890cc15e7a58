package report

import (
	"encoding/json"
	"io"
	"math"
	"reflect"

	"assay"
)

// jsonFormat names the shape that docs/report.schema.json describes. It changes
// only when a reader of the old shape would stumble.
const jsonFormat = "assay.report/1"

// JSON writes the complete run as docs/report.schema.json describes it. A list or
// map is never null, and a number that JSON cannot hold is 0.
func JSON(w io.Writer, run assay.Run) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Format string `json:"format"`
		assay.Run
	}{jsonFormat, definite(reflect.ValueOf(run)).Interface().(assay.Run)})
}

// definite returns a copy of v without nil lists and maps and without numbers
// that are none.
func definite(v reflect.Value) reflect.Value {
	to := reflect.New(v.Type()).Elem()
	to.Set(v)
	switch v.Kind() {
	case reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			to.SetFloat(0)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			to.Set(reflect.New(v.Type().Elem()))
			to.Elem().Set(definite(v.Elem()))
		}
	case reflect.Slice:
		to.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			to.Index(i).Set(definite(v.Index(i)))
		}
	case reflect.Map:
		if v.IsNil() {
			to.Set(reflect.MakeMap(v.Type()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				to.Field(i).Set(definite(v.Field(i)))
			}
		}
	}
	return to
}
