package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/vm"
)

func TestPick(t *testing.T) {
	list := []Listed{{ID: "A1", Name: "one"}, {ID: "B2", Name: "two"}, {ID: "C3", Name: "two"}}
	for name, want := range map[string]string{"one": "A1", "a1": "A1", "C3": "C3"} {
		if got, err := Pick(list, "X", name); err != nil || got.ID != want {
			t.Errorf("%s: got %+v, %v, want %s", name, got, err, want)
		}
	}
	if _, err := Pick(list, "X", "on"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part of a name: got %v, want fs.ErrNotExist", err)
	}
	if _, err := Pick(list, "X", "two"); err == nil || !strings.Contains(err.Error(), "2 virtual machines") {
		t.Errorf("two of a name: got %v, want that there are two", err)
	}
}

func TestTemplateImage(t *testing.T) {
	img, err := TemplateImage("x", "template:my VM")
	if name, ok := TemplateOf(img); err != nil || !ok || name != "my VM" {
		t.Errorf("got %+v, %v: template %q, %v", img, err, name, ok)
	}
	for _, name := range []string{"debian-12", "template:", ""} {
		if img, err := TemplateImage("x", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got %+v, %v, want fs.ErrNotExist", name, img, err)
		}
	}
	if _, ok := TemplateOf(vm.Image{Name: "template:x", Disk: "/disk"}); ok {
		t.Error("an image with a disk is taken for a template")
	}
}

func TestSaved(t *testing.T) {
	var s Saved
	if err := s.Free("a"); err != nil {
		t.Error(err)
	}
	s.Add("a", "1")
	s.Add("b", "2")
	if err := s.Free("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: got %v, want fs.ErrExist", err)
	}
	if id, err := s.ID("b"); id != "2" || err != nil {
		t.Errorf("got %q, %v, want 2", id, err)
	}
	if _, err := s.ID("c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown name: got %v, want fs.ErrNotExist", err)
	}
	if got := s.IDs(); !slices.Equal(got, []string{"2", "1"}) {
		t.Errorf("got %q, want the newest first", got)
	}
}

// TestAwaitTools proves that a guest whose tools never answer is a *vm.BootError
// with the reason, and that a machine that is gone is not waited for.
func TestAwaitTools(t *testing.T) {
	alive := func(context.Context) error { return nil }
	tries := 0
	err := AwaitTools(t.Context(), Boot{Alive: alive, Limit: time.Hour}, func(context.Context) error {
		if tries++; tries < 3 {
			return ErrNoTools
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("the third try: got %v after %d", err, tries)
	}
	never := func(context.Context) error { return ErrNoTools }
	boot := (*vm.BootError)(nil)
	console := func() ([]byte, error) { return []byte("login:"), nil }
	err = AwaitTools(t.Context(), Boot{Alive: alive, Console: console, Limit: 200 * time.Millisecond}, never)
	if !errors.As(err, &boot) || !errors.Is(err, ErrNoTools) || string(boot.Console) != "login:" {
		t.Errorf("no tools: got %v, want a *vm.BootError with the reason and the console", err)
	}
	off := func(context.Context) error { return &vm.StoppedError{How: "off"} }
	if err := AwaitTools(t.Context(), Boot{Alive: off, Limit: time.Hour}, never); !errors.As(err, &boot) || !errors.Is(err, ErrNoTools) {
		t.Errorf("a guest that ended: got %v, want a *vm.BootError", err)
	}
	deleted := func(context.Context) error { return fmt.Errorf("deleted: %w", fs.ErrNotExist) }
	boot = nil
	if err := AwaitTools(t.Context(), Boot{Alive: deleted, Limit: time.Hour}, never); errors.As(err, &boot) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a machine that is gone: got %v, want fs.ErrNotExist, which is not the guest's doing", err)
	}
}
