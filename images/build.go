package images

import (
	"context"
	"errors"

	"assay/vm"
)

// BuildOptions is what Build needs beside a name.
type BuildOptions struct {
	Agent    []byte             // the static agent for the guest; required
	Driver   vm.Driver          // boots the image once to prove it; nil: the image is not proved, and has no manifest
	Scratch  string             // folder for the proving machine; default: the system's temporary folder
	Fresh    bool               // take today's packages, even if an image is there
	Progress func(phase string) // told what the build is doing, if set
}

// ImportOptions is what Import needs beside a file.
type ImportOptions struct {
	Name     string             // default: OS-VERSION, as the guest says
	Agent    []byte             // the static agent for the guest; required
	Driver   vm.Driver          // boots the image once, to learn what it is; required
	Firmware string             // bios or uefi; default: bios
	Scratch  string             // folder for the proving machine; default: the system's temporary folder
	Progress func(phase string) // told what the import is doing, if set
}

var errSoon = errors.New("images: not built yet")

func (s *Store) Build(ctx context.Context, name string, opt BuildOptions) (vm.Image, error) {
	return vm.Image{}, errSoon
}

func (s *Store) Import(ctx context.Context, file string, opt ImportOptions) (vm.Image, error) {
	return vm.Image{}, errSoon
}
