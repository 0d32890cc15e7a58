package standin

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"assay/drivers/internal/cli"
)

// traces are what drivers change in a guest that they adopt.
var traces = []string{"/etc/passwd", "/etc/sudoers.d/tester", "/run/ip-rules", cli.AgentPath}

// Untouched notes how the guest is, and returns a check that it is still so: on,
// off or paused, with the same snapshots, users and firewall, and no agent.
func (g *Guest) Untouched(t testing.TB) (check func()) {
	t.Helper()
	running, paused, snapshots := g.Running(), g.Paused(), len(g.Snapshots())
	before := g.traces(t)
	return func() {
		t.Helper()
		if g.host.Guest(g.name) != g {
			t.Errorf("guest %s was replaced or deleted", g.name)
			return
		}
		if g.Running() != running || g.Paused() != paused {
			t.Errorf("guest %s: on %v, paused %v; want %v, %v, as it was", g.name, g.Running(), g.Paused(), running, paused)
		}
		if n := len(g.Snapshots()); n != snapshots {
			t.Errorf("guest %s has %d snapshots, want %d, as it had", g.name, n, snapshots)
		}
		after := g.traces(t)
		for i, path := range traces {
			if !bytes.Equal(before[i], after[i]) {
				t.Errorf("guest %s: %s holds %q, want %q, as it did", g.name, path, after[i], before[i])
			}
		}
	}
}

// traces reads what drivers change; nil is what is not there, or empty.
func (g *Guest) traces(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, path := range traces {
		data, err := g.Read(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		all = append(all, data)
	}
	return all
}
