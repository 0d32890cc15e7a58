package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.starlark.net/starlark"
)

// Duration is a time that scripts write as "90s", "5m" or "1h30m".
type Duration time.Duration

// StarType implements StarType.
func (Duration) StarType() string { return "str" }

// String returns the duration as scripts write it.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Unpack implements starlark.Unpacker.
func (d *Duration) Unpack(v starlark.Value) error {
	s, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want duration such as \"5m\"", v.Type())
	}
	t, err := time.ParseDuration(s)
	if err != nil || t <= 0 {
		return fmt.Errorf("got %q, want duration such as \"5m\"", s)
	}
	*d = Duration(t)
	return nil
}

// Size is a number of bytes that scripts write as "512M" or "2G".
type Size int64

// StarType implements StarType.
func (Size) StarType() string { return "str" }

const units = "KMGT"

// String returns the size as scripts write it.
func (z Size) String() string {
	n, unit := int64(z), ""
	for i := 0; i < len(units) && n > 0 && n%1024 == 0; i++ {
		n, unit = n/1024, units[i:i+1]
	}
	return fmt.Sprint(n) + unit
}

// Unpack implements starlark.Unpacker.
func (z *Size) Unpack(v starlark.Value) error {
	s, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want size such as \"2G\"", v.Type())
	}
	n, err := parseSize(s)
	if err != nil {
		return err
	}
	*z = Size(n)
	return nil
}

// parseSize reads "2G", "512 MiB" and "1024"; a unit is always a power of 1024.
func parseSize(s string) (int64, error) {
	wrong := fmt.Errorf("got %q, want size such as \"2G\"", s)
	w := strings.ToUpper(strings.TrimSpace(s))
	w = strings.TrimSuffix(strings.TrimSuffix(w, "B"), "I")
	shift := 0
	if w != "" {
		if i := strings.IndexByte(units, w[len(w)-1]); i >= 0 {
			w, shift = strings.TrimSpace(w[:len(w)-1]), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return 0, wrong
	}
	return n << shift, nil
}
