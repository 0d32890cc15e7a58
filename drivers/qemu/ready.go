//go:build linux

package qemu

import (
	"context"
	"os"
	"path/filepath"

	"assay/vm"
)

var _ vm.Templater = (*driver)(nil)

// Template names the template that a launch of spec clones. Whatever is wrong
// with spec, Launch says.
func (d *driver) Template(ctx context.Context, spec vm.Spec) (name string, ready bool) {
	if d.cfg.TemplateDir == "" || d.cfg.NoTemplates || spec.Cold {
		return "", false
	}
	t, err := d.find(ctx)
	if err != nil {
		return "", false
	}
	hw, err := t.hardware(spec)
	if err != nil {
		return "", false
	}
	name = t.templateKey(hw)
	_, err = os.Stat(filepath.Join(d.cfg.TemplateDir, name, templateName))
	return name, err == nil
}
