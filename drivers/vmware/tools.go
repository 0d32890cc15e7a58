package vmware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"assay/drivers/internal/cli"
)

// tools run commands in a guest through VMware Tools, which pass neither input
// nor output: both go as files. They are a cli.Guest. The password stands among
// vmrun's arguments, for everybody on the host to see: there is no other way.
type tools struct {
	p       *product
	vmx     string
	account cli.Account
	dir     string // for what goes in and comes out
}

// script runs its arguments and writes what they said, then what was wrong, then
// the exit code, to OUT. VMware Tools lose the code.
const script = `in=%[1]s.in out=%[1]s.out
set -- %[2]s
[ -e $in ] || in=/dev/null
"$@" <$in >$out 2>$out.err
code=$?
[ $code = 0 ] || tail -c 2000 $out.err >>$out
printf '\n%%s' $code >>$out
rm -f %[1]s.in $out.err %[1]s.sh
`

// Exec runs a command as root.
func (t tools) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	stem := "/tmp/assay-" + strings.ToLower(rand.Text()[:12])
	text := fmt.Sprintf(script, stem, quoted(t.account.AsRoot(argv)))
	if err := t.put(ctx, strings.NewReader(text), stem+".sh"); err != nil {
		return nil, err
	}
	if stdin != nil {
		if err := t.put(ctx, stdin, stem+".in"); err != nil {
			return nil, err
		}
	}
	if _, err := t.run(ctx, "runProgramInGuest", "/bin/sh", stem+".sh"); err != nil {
		return nil, err
	}
	out, err := t.get(ctx, stem+".out")
	if err != nil {
		return nil, err
	}
	at := strings.LastIndexByte(string(out), '\n')
	code, err := strconv.Atoi(string(out[at+1:]))
	if err != nil || at < 0 {
		return nil, fmt.Errorf("%s: got no exit code from the guest", argv[0])
	}
	if code != 0 {
		return nil, &cli.Error{Tool: argv[0], Exit: code, Said: string(out[:at]), Kind: cli.ErrFailed}
	}
	return out[:at], nil
}

// run runs one of vmrun's commands for guests.
func (t tools) run(ctx context.Context, verb string, args ...string) (cli.Result, error) {
	return t.p.run(ctx, append([]string{"-gu", t.account.User, "-gp", t.account.Password, verb, t.vmx}, args...)...)
}

// put copies data to a file of the guest's.
func (t tools) put(ctx context.Context, data io.Reader, path string) error {
	f, err := os.CreateTemp(t.dir, "in-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = t.run(ctx, "CopyFileFromHostToGuest", f.Name(), path)
	return err
}

// maxOut bounds what a command may say, in bytes.
const maxOut = 64 << 20

// get moves a file of the guest's here.
func (t tools) get(ctx context.Context, path string) ([]byte, error) {
	file := filepath.Join(t.dir, "out-"+filepath.Base(path))
	defer os.Remove(file)
	if _, err := t.run(ctx, "CopyFileFromGuestToHost", path, file); err != nil {
		return nil, err
	}
	if _, err := t.run(ctx, "deleteFileInGuest", path); err != nil {
		return nil, err
	}
	return cli.ReadTail(file, maxOut)
}

// quoted writes words as a shell reads them.
func quoted(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	return strings.Join(all, " ")
}
