package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const sshDir = "/etc/ssh"

// HostKeys returns the types of the ssh server's keys that a clone must replace.
func (o *OS) HostKeys() []string { return hostKeysIn(sshDir) }

func hostKeysIn(dir string) []string {
	var types []string
	for _, t := range hostKeyTypes {
		if info, err := os.Lstat(keyFile(dir, t)); err == nil && info.Mode().IsRegular() {
			types = append(types, t)
		}
	}
	return types
}

func keyFile(dir, kind string) string { return filepath.Join(dir, "ssh_host_"+kind+"_key") }

// replaceHostKeys puts keys in the place of those of their types in dir, and has
// a running server read them. A key whose type is not there is left out.
func replaceHostKeys(dir string, keys []HostKey) error {
	for _, k := range keys {
		if !slices.Contains(hostKeyTypes, k.Type) {
			return fmt.Errorf("got type %q, want one of %q", printable(k.Type, maxWord), hostKeyTypes)
		}
		path := keyFile(dir, k.Type)
		for _, err := range []error{replaceFile(path, k.Private), replaceFile(path+".pub", k.Public)} {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return reloadSSH("/run/sshd.pid")
}

// replaceFile puts data in the place of a regular file, whole or not at all, with
// the same mode and owner.
func replaceFile(path string, data []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	old, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return fmt.Errorf("%s: got %s, want a file", path, info.Mode().Type())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".assay-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chown(int(old.Uid), int(old.Gid))
	}
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// reloadSSH tells the server whose number is in file to read its keys again. One
// that does not run will read them when it starts.
func reloadSSH(file string) error {
	pid, err := strconv.Atoi(strings.TrimSpace(firstFile(file)))
	if err != nil || pid <= 1 {
		return nil
	}
	if st, ok := readProcStat(pid); !ok || st.comm != "sshd" {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sshd: %w", err)
	}
	return nil
}
