package cli

import (
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"assay/vm"
)

// templatePrefix begins the name of an image that is a virtual machine of the
// user's, which is cloned: what systems have whose guests are made by hand.
const templatePrefix = "template:"

// TemplateImage returns the image of that name, if it is one: "template:NAME".
// Else the error is fs.ErrNotExist.
func TemplateImage(driver, image string) (vm.Image, error) {
	if template, ok := strings.CutPrefix(image, templatePrefix); !ok || template == "" {
		return vm.Image{}, fmt.Errorf("%s: image %q, want %sNAME of a virtual machine: %w", driver, image, templatePrefix, fs.ErrNotExist)
	}
	return vm.Image{Name: image, Arch: runtime.GOARCH}, nil
}

// TemplateOf returns the name of the virtual machine that an image is.
func TemplateOf(img vm.Image) (string, bool) {
	template, ok := strings.CutPrefix(img.Name, templatePrefix)
	return template, ok && img.Disk == ""
}
