package engine_test

import (
	"strings"
	"testing"

	"assay/drivers/fake"
	"assay/engine"
	"assay/vm"
)

// bare is an environment whose driver can next to nothing, beside one that can.
func bare(t *testing.T) engine.Env {
	env := environment(t.TempDir())
	env.Drivers = []vm.Driver{fake.Config{Called: "bare", Without: fake.Bare()}.New(), env.Drivers[0]}
	return env
}

// TestNeeds proves which scripts are refused before anything boots: those that
// call in any case what the driver cannot do, and no others.
func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		name, body string // of test_1, indented by one tab
		line       string // where the need is; empty: there is none
	}{
		{"in any case", "\tm = launch()\n\tsnapshot(m)", "3"},
		{"an argument", "\tlog(str(snapshot(launch())))", "2"},
		{"restore", "\trestore(launch(), None)", "2"},
		{"in a helper", "\thelp(launch())\ndef help(m):\n\tsnapshot(m)", "4"},
		{"in a helper that nobody calls", "\tlaunch()\ndef help(m):\n\tsnapshot(m)", ""},
		{"under a condition", "\tm = launch()\n\tif m.can('snapshot'):\n\t\tsnapshot(m)", ""},
		{"in the condition", "\tm = launch()\n\tif snapshot(m):\n\t\tpass", "3"},
		{"after a way out", "\tm = launch()\n\tif not m.can('snapshot'):\n\t\treturn\n\tsnapshot(m)", ""},
		{"after a failure", "\tm = launch()\n\tif not m.can('snapshot'):\n\t\tfail('no')\n\tsnapshot(m)", ""},
		{"after a condition that goes on", "\tm = launch()\n\tif m.can('fork'):\n\t\tlog('it can')\n\tsnapshot(m)", "5"},
		{"after the end", "\treturn\n\tsnapshot(launch())", ""},
		{"in a loop", "\tm = launch()\n\tfor i in range(int(param('n', '0'))):\n\t\tsnapshot(m)", ""},
		{"one or the other", "\tm = launch()\n\ts = snapshot(m) if m.can('snapshot') else None", ""},
		{"only then", "\tm = launch()\n\tm.can('snapshot') and snapshot(m)", ""},
		{"in a lambda", "\tm = launch()\n\tf = lambda: snapshot(m)", ""},
		{"in a comprehension", "\tm = launch()\n\t[snapshot(m) for i in []]", ""},
		{"a fork", "\ts = help()\n\tlaunch(s)\ndef help():\n\treturn None", ""},
		{"on a machine of another driver", "\tm = launch(driver = 'fake')\n\tsnapshot(m)", ""},
		{"a word of its own", "\tsnapshot()\ndef snapshot():\n\tpass", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := write(t, "a.star", "def test_1():\n"+tt.body+"\n") + "/a.star"
			_, err := engine.Plan(t.Context(), bare(t), engine.Options{Scripts: []string{file}})
			switch want := "a.star:" + tt.line + ": needs snapshot: bare (fake 1) lacks snapshot"; {
			case tt.line == "" && err != nil:
				t.Errorf("got %v, want no need", err)
			case tt.line != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestNeedsOfForks proves that a launch needs a fork only where it is given what
// snapshot returned.
func TestNeedsOfForks(t *testing.T) {
	env := environment(t.TempDir())
	env.Drivers = []vm.Driver{fake.Config{Called: "few", Without: []vm.Capability{vm.CapFork}}.New()}
	for body, refused := range map[string]bool{
		"\ts = snapshot(launch())\n\tlaunch(s)":            true,
		"\tlaunch(image = snapshot(launch()))":             true,
		"\ts = snapshot(launch())\n\ts = 'x'\n\tlaunch(s)": false,
		"\tlaunch('debian-12')":                            false,
	} {
		file := write(t, "a.star", "def test_1():\n"+body+"\n") + "/a.star"
		_, err := engine.Plan(t.Context(), env, engine.Options{Scripts: []string{file}})
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "needs fork: few") {
			t.Errorf("%q: got %v, want refused %v", body, err, refused)
		}
	}
}

// TestDeclaredNeeds proves that a script's words count for all its tests.
func TestDeclaredNeeds(t *testing.T) {
	for words, want := range map[string]string{
		"needs = ['suspend']":             "needs suspend: bare",
		"needs = 'existing'":              "needs existing: bare lacks existing",
		"needs = ['suspend', 'suspense']": `got "suspense", want an ability; did you mean "suspend"?`,
		"needs = 7":                       "got int, want list of strings",
	} {
		file := write(t, "a.star", words+"\n"+test1) + "/a.star"
		_, err := engine.Plan(t.Context(), bare(t), engine.Options{Scripts: []string{file}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", words, err, want)
		}
	}
}

// TestNoImage proves that a script which launches only what is there needs no image.
func TestNoImage(t *testing.T) {
	for body, want := range map[string]string{
		"\tlaunch(existing = 'a')":             "existing",
		"\tlaunch(existing = 'a')\n\tlaunch()": "debian-12",
		"\tpass":                               "debian-12",
	} {
		env := environment(t.TempDir())
		env.Drivers = []vm.Driver{fake.Config{Existing: []string{"a"}}.New()}
		file := write(t, "a.star", "def test_1():\n"+body+"\n") + "/a.star"
		cells, err := engine.Plan(t.Context(), env, engine.Options{Scripts: []string{file}})
		if err != nil || len(cells) != 1 || cells[0].Image != want {
			t.Errorf("%q: got %v (%v), want image %s", body, cells, err, want)
		}
	}
}
