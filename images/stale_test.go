package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/capture"
)

// An image whose manifest other collectors wrote is no image to run on, and the
// error says what to do about it.
func TestImageOfAnotherAssay(t *testing.T) {
	for how, next := range map[string]string{"build": `"assay image build debian-12"`, "import": `"assay image import FILE --name debian-12"`} {
		s := openTest(t)
		rec := put(t, s, "debian-12", how, "debian", "12", "disk")
		manifest := filepath.Join(filepath.Dir(rec.Image.Disk), "manifest")
		rec.Image.Manifest = manifest
		if err := writeRecord(filepath.Dir(rec.Image.Disk), rec); err != nil {
			t.Fatal(err)
		}
		if err := capture.WriteManifest(manifest, capture.Capture{Version: capture.Version}); err != nil {
			t.Fatal(err)
		}
		if img, err := s.Resolve("debian-12"); err != nil || img.Manifest != manifest {
			t.Errorf("%s: got %v, %v, want its manifest", how, img, err)
		}
		for _, version := range []int{capture.Version - 1, capture.Version + 1} {
			if err := capture.WriteManifest(manifest, capture.Capture{Version: version}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Resolve("debian-12"); err == nil || !strings.Contains(err.Error(), next) {
				t.Errorf("%s: a manifest of version %d: got %v, want %s", how, version, err, next)
			}
		}
		if err := os.Remove(manifest); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve("debian-12"); err == nil || !strings.Contains(err.Error(), next) {
			t.Errorf("%s: no manifest: got %v, want %s", how, err, next)
		}
	}
}
