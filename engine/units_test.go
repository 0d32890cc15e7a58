package engine

import (
	"testing"
	"time"

	"go.starlark.net/starlark"
)

// TestUnits proves that sizes and durations are read, refused and written.
func TestUnits(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "2K": 2048, "512M": 512 << 20, "2G": 2 << 30, "2GiB": 2 << 30, "2gb": 2 << 30, "10 G": 10 << 30, "1T": 1 << 40} {
		var z Size
		if err := z.Unpack(starlark.String(in)); err != nil || int64(z) != want {
			t.Errorf("%s: got %d, %v, want %d", in, z, err, want)
		}
	}
	for _, in := range []string{"", "G", "-1G", "0", "2X", "1.5G", "9999999999T", "2GG"} {
		var z Size
		if err := z.Unpack(starlark.String(in)); err == nil {
			t.Errorf("%q: got %d, want an error", in, z)
		}
	}
	for z, want := range map[Size]string{512 << 20: "512M", 2 << 30: "2G", 1000: "1000", 0: "0"} {
		if got := z.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Second: "1m30s", 50 * time.Millisecond: "50ms", 10 * time.Second: "10s", time.Hour + 10*time.Minute: "1h10m"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
