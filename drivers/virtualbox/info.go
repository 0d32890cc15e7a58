package virtualbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// What VirtualBox says of itself can take a while.
const (
	lockLimit  = 2 * time.Minute // until another session lets a machine go, and the call is over
	stateLimit = 1 * time.Minute // until a machine is in the state that it was told to take
)

// info is what showvminfo says of a machine.
type info map[string]string

// info asks for a machine by its id or name.
func (d *driver) info(ctx context.Context, id string) (info, error) {
	r, err := d.run(ctx, "showvminfo", id, "--machinereadable")
	if err != nil {
		return nil, err
	}
	return parseInfo(string(r.Stdout)), nil
}

// parseInfo reads key=value lines. Of a key that comes twice the first counts:
// what the guest says of itself comes last, and may have line breaks.
func parseInfo(text string) info {
	all := info{}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		key, value, found := cutKey(lines[i])
		if !found {
			continue
		}
		if strings.HasPrefix(value, `"`) {
			for !closed(value) && i+1 < len(lines) {
				i++
				value += "\n" + lines[i]
			}
			value = unquote(value)
		}
		if _, known := all[key]; !known {
			all[key] = value
		}
	}
	return all
}

// cutKey splits a line at its key's end; a key may be quoted.
func cutKey(line string) (key, value string, found bool) {
	if rest, quoted := strings.CutPrefix(line, `"`); quoted {
		return strings.Cut(rest, `"=`)
	}
	return strings.Cut(line, "=")
}

// closed reports whether a quoted value has its end.
func closed(value string) bool {
	if len(value) < 2 || !strings.HasSuffix(value, `"`) {
		return false
	}
	body := value[:len(value)-1]
	escapes := len(body) - len(strings.TrimRight(body, `\`))
	return escapes%2 == 0
}

func unquote(value string) string {
	value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(value)
}

// A state is what a machine does.
type state int

const (
	changing state = iota // on its way from one state to another
	off
	saved // off, with its memory in a file
	running
	paused
	failed
)

// stateOf translates VMState. What is unknown will change.
func stateOf(word string) state {
	switch word {
	case "poweroff", "aborted":
		return off
	case "saved", "aborted-saved":
		return saved
	case "running":
		return running
	case "paused":
		return paused
	case "gurumeditation":
		return failed
	}
	return changing
}

// state asks what a machine does.
func (d *driver) state(ctx context.Context, id string) (state, string, error) {
	i, err := d.info(ctx, id)
	return stateOf(i["VMState"]), i["VMState"], err
}

// until waits until a machine is in one of the states.
func (d *driver) until(ctx context.Context, id string, want ...state) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stateLimit, fmt.Errorf("not there after %v", stateLimit))
	defer cancel()
	return cli.Until(ctx, "the state of "+id, func(ctx context.Context) (bool, error, error) {
		got, word, err := d.state(ctx, id)
		for _, s := range want {
			if got == s && err == nil {
				return true, nil, nil
			}
		}
		if err == nil && got == failed {
			err = &vm.StoppedError{How: "the guest's processor is in guru meditation"}
		}
		return false, fmt.Errorf("it is %s", word), err
	})
}
