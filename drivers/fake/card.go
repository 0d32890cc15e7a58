package fake

import "assay/vm"

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: d.Name(), Tool: "assay itself", Systems: []string{"linux", "darwin", "windows"},
		Capabilities: vm.Of(&machine{driver: d}), Instead: insteadOf, Isolation: vm.IsolationHost,
	}
}
