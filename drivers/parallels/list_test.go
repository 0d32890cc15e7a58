package parallels

import "testing"

// TestDecode reads JSON among other bytes, as prlctl prints it.
func TestDecode(t *testing.T) {
	for _, text := range []string{`[{"a":"x"}]`, "beta\a [\n{\"a\":\t\"x\x01\"}\n]\x00 bye", ` [{"a":"x"}] `} {
		var got []struct{ A string }
		if err := decode([]byte(text), &got); err != nil || len(got) != 1 || got[0].A != "x" {
			t.Errorf("%q: got %+v, %v, want x", text, got, err)
		}
	}
	for _, text := range []string{"", "nothing", "]{", "[", `[{"a":1}]`} {
		var got []struct{ A string }
		if err := decode([]byte(text), &got); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

// TestFacts proves that devices are told from what is not one, and in order.
func TestFacts(t *testing.T) {
	var all []facts
	if err := decode([]byte(`[{"Hardware":{"net1":{},"net0":{},"network":{},"net":{},"net99999":{},"hdd0":{"size":"65536Mb"},"hdd1":{"size":"much"}}}]`), &all); err != nil {
		t.Fatal(err)
	}
	if got := all[0].devices("net"); len(got) != 2 || got[0] != "net0" || got[1] != "net1" {
		t.Errorf("got the cards %q, want net0 and net1", got)
	}
	for device, want := range map[string]int64{"hdd0": 64 << 30, "hdd1": 0, "hdd2": 0} {
		if got := all[0].size(device); got != want {
			t.Errorf("%s: got %d, want %d", device, got, want)
		}
	}
}
