package images

import (
	"embed"
	"fmt"
	"os"
	"path"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

//go:embed recipe/seed
var seedFiles embed.FS

// seedFile is one file of a seed disk.
type seedFile struct {
	name string
	data []byte
}

// seedContent returns the files of a NoCloud seed disk that brings an agent.
// Equal ids are one machine to cloud-init.
func seedContent(agent []byte, id string) []seedFile {
	files := []seedFile{
		// Local mode: the agent is put in before anything waits for a network.
		{"meta-data", fmt.Appendf(nil, "instance-id: %s\nlocal-hostname: assay\ndsmode: local\n", id)},
		{"assay-agent", agent},
	}
	for _, name := range []string{"user-data", "network-config", "install.sh"} {
		files = append(files, seedFile{name, mustRead(seedFiles, "recipe/seed/"+name)})
	}
	return append(files, seedFile{"assay-agent.service", mustRead(recipeFiles, "recipe/files/"+unitPath)})
}

// mustRead reads a file that is part of the program.
func mustRead(fsys embed.FS, name string) []byte {
	data, err := fsys.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return data
}

// writeSeed makes an ISO 9660 disk labelled cidata, where cloud-init looks for
// its instructions.
func writeSeed(name string, files []seedFile) error {
	size := int64(1 << 20)
	for _, f := range files {
		size += int64(len(f.data))
	}
	disk, err := file.CreateFromPath(name, size)
	if err != nil {
		return err
	}
	defer disk.Close()
	work, err := os.MkdirTemp(path.Dir(name), "seed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	iso, err := iso9660.Create(disk, size, 0, 2048, work)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := addToSeed(iso, f); err != nil {
			return fmt.Errorf("seed disk: %s: %w", f.name, err)
		}
	}
	// Without Rock Ridge the names would be cut to eight capitals.
	return iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: fmt.Sprintf("%-32s", "cidata")})
}

func addToSeed(iso *iso9660.FileSystem, f seedFile) error {
	w, err := iso.OpenFile(f.name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = w.Write(f.data)
	return err
}
