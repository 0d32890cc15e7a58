package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"assay/drivers/internal/cli"
)

// An instance is what the API says of a container or virtual machine.
type instance struct {
	Name         string                       `json:"name"`
	Status       string                       `json:"status"` // Running, Stopped, Frozen …
	Type         string                       `json:"type"`
	Architecture string                       `json:"architecture"`
	Description  string                       `json:"description"`
	Ephemeral    bool                         `json:"ephemeral"`
	Profiles     []string                     `json:"profiles"`
	Config       map[string]string            `json:"config"`
	Devices      map[string]map[string]string `json:"devices"`          // its own
	AllDevices   map[string]map[string]string `json:"expanded_devices"` // with its profiles'
}

// The states of instances.
const (
	statusRunning = "Running"
	statusStopped = "Stopped"
	statusFrozen  = "Frozen"
)

// state is what the API says of a running instance.
type state struct {
	Status string `json:"status"`
	PID    int    `json:"pid"` // of its first process, as the server sees it
	CPU    struct {
		Usage int64 `json:"usage"` // nanoseconds since its start
	} `json:"cpu"`
	Memory struct {
		Usage int64 `json:"usage"`
	} `json:"memory"`
	Disk map[string]struct {
		Usage int64 `json:"usage"`
	} `json:"disk"`
}

func instancePath(name string) string { return "/1.0/instances/" + url.PathEscape(name) }

// instance asks for one by its exact name.
func (s *server) instance(ctx context.Context, name string) (instance, error) {
	var i instance
	err := s.get(ctx, instancePath(name), &i)
	if err == nil && i.Name != name {
		err = fmt.Errorf("%s: got the instance %q", instancePath(name), i.Name)
	}
	return i, err
}

// state asks what an instance does. One that is just ending has no answer for a
// moment.
func (s *server) state(ctx context.Context, name string) (st state, err error) {
	ctx, cancel := context.WithTimeout(ctx, dying)
	defer cancel()
	err = cli.Until(ctx, name+": waiting for its state", func(ctx context.Context) (bool, error, error) {
		err := s.get(ctx, instancePath(name)+"/state", &st)
		if errors.Is(err, cli.ErrState) {
			return false, err, nil
		}
		return true, nil, err
	})
	return st, err
}

// names lists the instances of the current project.
func (s *server) names(ctx context.Context) ([]string, error) {
	var urls []string
	err := s.get(ctx, "/1.0/instances", &urls)
	names := make([]string, 0, len(urls))
	for _, u := range urls {
		u, _, _ = strings.Cut(u, "?")
		if name, err := url.PathUnescape(path.Base(u)); err == nil {
			names = append(names, name)
		}
	}
	return names, err
}

// dirKey is the setting that says where a machine's own folder is.
const dirKey = "user.assay.dir"

// dirOf returns the folder of a machine that its launcher has left; "" if the
// server does not tell one that can be it.
func (s *server) dirOf(ctx context.Context, name string) (string, error) {
	i, err := s.instance(ctx, name)
	dir := i.Config[dirKey]
	if err != nil || !filepath.IsAbs(dir) || !strings.HasSuffix(name, "-"+filepath.Base(dir)) {
		return "", err
	}
	return dir, nil
}

// set has an instance's state changed: start, stop, freeze, unfreeze.
func (s *server) set(ctx context.Context, name, action string, force bool) error {
	return s.whenIdle(ctx, name, func(ctx context.Context) error {
		return s.change(ctx, name, "PUT", instancePath(name)+"/state",
			map[string]any{"action": action, "force": force, "timeout": int(stopLimit.Seconds())})
	})
}

// stopLimit is how long a guest may take to shut down.
const stopLimit = 60 * time.Second

// whenIdle does something with an instance as soon as the server has finished
// what it does with it, of which it tells when it is asked too early.
func (s *server) whenIdle(ctx context.Context, name string, do func(context.Context) error) error {
	return cli.Until(ctx, name+": waiting for another operation", func(ctx context.Context) (bool, error, error) {
		err := do(ctx)
		if wasBusy(err) {
			return false, err, nil
		}
		return true, nil, err
	})
}

// wasBusy reports whether the server is at something else with an instance.
func wasBusy(err error) bool {
	e, ok := errors.AsType[*cli.Error](err)
	return ok && strings.Contains(e.Said, "nstance is busy")
}

// destroy removes an instance and its snapshots, whatever its state. One that is
// gone is fs.ErrNotExist.
func (s *server) destroy(ctx context.Context, name string) error {
	met := false
	err := cli.Until(ctx, "the end of "+name, func(ctx context.Context) (bool, error, error) {
		i, err := s.instance(ctx, name)
		met = met || err == nil
		if err == nil && i.Status != statusStopped {
			err = s.set(ctx, name, "stop", true)
		}
		if err == nil || errors.Is(err, cli.ErrState) {
			err = s.change(ctx, name, "DELETE", instancePath(name), nil)
		}
		if errors.Is(err, cli.ErrState) || wasBusy(err) {
			return false, err, nil // it was just starting, or ending
		}
		return true, nil, err
	})
	if err != nil && !(met && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if _, err := s.instance(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: it was deleted and is still there: %w", name, errors.Join(err, cli.ErrState))
	}
	return nil
}

// edit changes an instance's own devices.
func (s *server) edit(ctx context.Context, name string, devices func(i instance) map[string]map[string]string) error {
	return s.whenIdle(ctx, name, func(ctx context.Context) error {
		i, err := s.instance(ctx, name)
		if err != nil {
			return err
		}
		return s.change(ctx, name, "PUT", instancePath(name), map[string]any{
			"architecture": i.Architecture, "description": i.Description, "ephemeral": i.Ephemeral,
			"profiles": i.Profiles, "config": i.Config, "devices": devices(i),
		})
	})
}

// cards returns the devices of an instance that are network cards.
func cards(devices map[string]map[string]string) map[string]map[string]string {
	nics := maps.Clone(devices)
	maps.DeleteFunc(nics, func(_ string, d map[string]string) bool { return d["type"] != "nic" })
	return nics
}
