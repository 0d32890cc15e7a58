package images

import (
	"fmt"
	"slices"
)

// Extra is how an image that is not in the catalog differs from one that is
// built: what else it holds. Equal extras make equal images.
type Extra struct {
	Like     string      // the catalog's image that it is built like
	Kernel   string      // package of its kernel; empty: the catalog's
	Packages []string    // of the same distribution, beside the catalog's
	Files    []ExtraFile // over the packages' and assay's files, in this order
	Unmask   []string    // units that assay would mask
}

// ExtraFile is one file of an Extra. It belongs to root.
type ExtraFile struct {
	Name string // absolute path in the guest without the leading slash
	Mode int64
	Text string
	Link string // target, of a symbolic link; then Text and Mode count nothing
}

// known returns what to build for a name: the catalog's image, or the one like
// it that the options describe.
func (o BuildOptions) known(name string) (known, bool) {
	if o.Extra == nil {
		return theCatalog.find(name)
	}
	k, ok := theCatalog.find(o.Extra.Like)
	k.Name, k.extra = name, *o.Extra
	if o.Extra.Kernel != "" {
		k.Kernel = o.Extra.Kernel
	}
	return k, ok && k.buildable()
}

// check returns an error if an image of that name cannot be made with the extra.
func (e *Extra) check(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, taken := theCatalog.find(name); taken {
		return fmt.Errorf("%s: got extra packages for an image of the catalog, want a name of its own", name)
	}
	if _, ok := (BuildOptions{Extra: e}).known(name); !ok {
		return fmt.Errorf("%s: got %q as the image that it is like, want one that is built", name, e.Like)
	}
	return nil
}

// overlay returns the extra files.
func (e Extra) overlay() []overlayFile {
	var files []overlayFile
	for _, f := range e.Files {
		files = append(files, overlayFile{name: f.Name, mode: f.Mode, link: f.Link, data: []byte(f.Text)})
	}
	return files
}

// unmasks reports whether the unit is not to be masked.
func (e Extra) unmasks(unit string) bool { return slices.Contains(e.Unmask, unit) }
