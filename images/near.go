package images

import "assay/near"

// nearest returns at most three known names that are close to name, closest first.
func nearest(name string, list []Entry) []string {
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return near.Names(name, names, 3)
}
