package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"assay/vm"
)

//go:embed drivers.md.tmpl
var driversTemplate string

// driversPage writes docs/drivers.md: what drivers say of themselves, side by
// side. It is the same on every host.
func driversPage(drivers []vm.Driver) (string, error) {
	var real []vm.Driver
	for _, d := range drivers {
		if !isMadeUp(d) {
			real = append(real, d)
		}
	}
	t, err := template.New("drivers").Parse(driversTemplate)
	if err != nil {
		return "", err
	}
	var page bytes.Buffer
	err = t.Execute(&page, map[string]string{"Builds": builders(real), "Commands": commandRows(real), "Met": metTable(real), "Abilities": abilityTable(real), "Instead": insteadTable(real)})
	return page.String(), err
}

// metTable says of each driver what it runs, where, and which versions it met.
func metTable(drivers []vm.Driver) string {
	rows := [][]string{{"driver", "hypervisor", "command", "hosts", "met the real one", "kept from networks by"}}
	for _, d := range drivers {
		c := card(d)
		met := strings.Join(c.Met, ", ")
		if met == "" {
			met = "no: stand-ins and transcripts only"
		}
		rows = append(rows, []string{"`" + d.Name() + "`", c.Title, "`" + c.Tool + "`", vm.Hosts(c.Systems, ", "), met, keptBy(c.Isolation)})
	}
	return markdownTable(rows)
}

// commandRows says by which variable each driver is told where its command is.
func commandRows(drivers []vm.Driver) string {
	var rows strings.Builder
	for _, d := range drivers {
		c := card(d)
		fmt.Fprintf(&rows, "| `%s` | %s | where `%s` is |\n", c.Variable, d.Name(), c.Tool)
	}
	return rows.String()
}

// builders names the drivers whose machines start from the images that assay builds.
func builders(drivers []vm.Driver) string {
	var names []string
	for _, d := range drivers {
		switch builds := card(d).Builds; builds {
		case "":
		case "yes":
			names = append(names, "`"+d.Name()+"`")
		default:
			names = append(names, "`"+d.Name()+"` ("+builds+")")
		}
	}
	return strings.Join(names, ", ")
}

func keptBy(i vm.Isolation) string {
	switch i {
	case vm.IsolationHost:
		return "the host"
	case vm.IsolationGuest:
		return "a firewall in the guest"
	}
	return "nobody: refused"
}

// abilityTable is drivers × abilities.
func abilityTable(drivers []vm.Driver) string {
	head := []string{"driver"}
	for _, c := range vm.All() {
		head = append(head, string(c))
	}
	rows := [][]string{append(head, "existing", "assay's images", "own images")}
	for _, d := range drivers {
		row := []string{"`" + d.Name() + "`"}
		for _, c := range vm.All() {
			row = append(row, yes(can(d, c)))
		}
		_, adopts := d.(vm.Adopter)
		_, fetches := d.(vm.Catalog)
		rows = append(rows, append(row, yes(adopts), cmp.Or(card(d).Builds, yes(false)), yes(fetches)))
	}
	return markdownTable(rows)
}

func can(d vm.Driver, want vm.Capability) bool {
	for _, c := range card(d).Capabilities {
		if c == want {
			return true
		}
	}
	return false
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "–"
}

// insteadTable says for what is lacking what the user can do.
func insteadTable(drivers []vm.Driver) string {
	rows := [][]string{{"driver", "lacks", "instead"}}
	for _, d := range drivers {
		for _, c := range vm.All() {
			if !can(d, c) {
				rows = append(rows, []string{"`" + d.Name() + "`", string(c), card(d).Instead[c]})
			}
		}
	}
	return markdownTable(rows)
}

// markdownTable writes a table; the first row is its head.
func markdownTable(rows [][]string) string {
	var s strings.Builder
	for i, row := range rows {
		for _, cell := range row {
			fmt.Fprintf(&s, "| %s ", strings.ReplaceAll(cell, "|", `\|`))
		}
		s.WriteString("|\n")
		if i == 0 {
			s.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return s.String()
}
