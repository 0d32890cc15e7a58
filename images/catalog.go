package images

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"assay"
)

//go:embed catalog.json
var catalogJSON []byte

// catalog is what assay knows of images without looking at the store.
type catalog struct {
	Packages []string `json:"packages"` // in every image that is built
	Pool     []string `json:"pool"`     // installable offline in every image that is built
	Images   []known  `json:"images"`
}

// known is one image of the catalog: built when it has a suite, else imported.
type known struct {
	Name    string `json:"name"`
	OS      string `json:"os"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Title   string `json:"title"`
	Suite   string `json:"suite"`  // of Debian, for mmdebstrap
	Kernel  string `json:"kernel"` // its kernel package
	File    string `json:"file"`   // what the vendor calls the cloud image
	From    string `json:"from"`   // where to get it, in words

	extra Extra // of an image that is not in the catalog
}

// theCatalog is parsed once; a catalog that does not parse cannot be shipped,
// because every test of this room would panic.
var theCatalog = parseCatalog(catalogJSON)

func parseCatalog(data []byte) catalog {
	var c catalog
	if err := json.Unmarshal(data, &c); err != nil {
		panic(fmt.Sprintf("images: catalog.json: %v", err))
	}
	return c
}

// find returns the catalog's entry of that name.
func (c catalog) find(name string) (known, bool) {
	i := slices.IndexFunc(c.Images, func(k known) bool { return k.Name == name })
	if i < 0 {
		return known{}, false
	}
	return c.Images[i], true
}

// buildable reports whether assay makes the image itself.
func (k known) buildable() bool { return k.Suite != "" }

// next says how to get an image that is not in the store.
func (k known) next() string {
	if k.buildable() {
		return fmt.Sprintf("run %q", "assay image build "+k.Name)
	}
	return fmt.Sprintf("get %s from %s, then run %q", k.File, k.From, "assay image import "+k.File)
}

// compareVersions orders by operating system, then version, then name.
func compareVersions(aOS, aVersion, aName, bOS, bVersion, bName string) int {
	if c := strings.Compare(aOS, bOS); c != 0 {
		return c
	}
	if c := strings.Compare(assay.VersionKey(aVersion), assay.VersionKey(bVersion)); c != 0 {
		return c
	}
	return strings.Compare(aName, bName)
}
