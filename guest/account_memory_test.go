package guest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"assay/guest"
)

// TestAccountsAreNotStale proves that accounts are remembered, and not for longer
// than either file stays as it was.
func TestAccountsAreNotStale(t *testing.T) {
	dir := t.TempDir()
	passwd, group := filepath.Join(dir, "passwd"), filepath.Join(dir, "group")
	save := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save(passwd, "old")
	save(group, "old")
	reads := 0
	find := guest.Remember(passwd, group, func() string {
		reads++
		text, err := os.ReadFile(passwd)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	})
	for range 3 { // too young to be relied on
		if got := find("x"); got != "old" {
			t.Fatalf("got %q, want what the file says", got)
		}
	}
	time.Sleep(2 * guest.FileTick)
	find("x")
	if before := reads; find("x") != "old" || reads != before {
		t.Errorf("got %d reads for two questions, want one", reads-before+1)
	}
	save(passwd, "new") // as long as before
	if got := find("x"); got != "new" {
		t.Errorf("got %q after a change, want new", got)
	}
	time.Sleep(2 * guest.FileTick)
	find("x")
	before := reads
	save(group, "new")
	if find("x"); reads == before {
		t.Error("a change of the groups was not seen")
	}
	if err := os.Remove(group); err != nil {
		t.Fatal(err)
	}
	before = reads
	if find("x"); reads == before {
		t.Error("without a list of groups memory was relied on")
	}
}
