package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxConsole is how much of its console a machine returns.
const maxConsole = 1 << 20

// A Console is the file to which a hypervisor writes what a machine's serial
// console prints. Most begin a new file at every start.
type Console struct {
	Dir string // the folder that it is in
}

// Path returns where the hypervisor shall write.
func (c Console) Path() string { return filepath.Join(c.Dir, "console.log") }

func (c Console) earlier() string { return filepath.Join(c.Dir, "console.earlier.log") }

// Save moves what was printed away. It is called before every start.
func (c Console) Save() error {
	text, err := ReadTail(c.Path(), maxConsole)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.earlier(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return os.Remove(c.Path())
}

// Begin gives a fork what its parent's console printed until now.
func (c Console) Begin(parent Console) error {
	text, err := parent.Read()
	if err != nil {
		return err
	}
	return os.WriteFile(c.earlier(), text, 0o600)
}

// Read returns the last MiB of what was printed, over all starts.
func (c Console) Read() ([]byte, error) {
	var all []byte
	for _, file := range []string{c.earlier(), c.Path()} {
		text, err := ReadTail(file, maxConsole)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all = append(all, text...)
	}
	return all[max(0, len(all)-maxConsole):], nil
}

// ReadTail returns the end of a file, at most limit bytes.
func ReadTail(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-limit), limit))
}
