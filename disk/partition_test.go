package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// table is what sfdisk says of a disk.
type sfdiskTable struct {
	Partitiontable struct {
		Sectorsize int64
		Partitions []struct {
			Node        string
			Start, Size int64
			Type        string
		}
	}
}

// TestTables compares partitions with what sfdisk says.
func TestTables(t *testing.T) {
	need(t, "sfdisk")
	for name, script := range map[string]string{
		"gpt":      "label: gpt\nstart=2048,size=4096\nstart=10240,size=2048,type=swap\n,,\n",
		"gpt-hole": "label: gpt\n1 : start=2048,size=4096\n7 : start=10240,size=2048\n3 : start=20480,size=2048\n",
		"mbr":      "label: dos\nstart=2048,size=4096,bootable\nstart=10240,size=2048,type=82\n",
		"logical":  "label: dos\nstart=2048,size=4096\nstart=8192,size=40000,type=5\nstart=10240,size=2048\nstart=14336,size=4096\nstart=20480,size=8192\n3 : start=50000,size=1000\n",
		"one":      "label: dos\n4 : start=63,size=100\n",
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "disk")
			must(t, os.WriteFile(image, nil, 0o600), os.Truncate(image, 32<<20))
			toolInput(t, script, "sfdisk", "-q", image)
			checkTable(t, image)
			if strings.HasPrefix(name, "gpt") {
				damageGPT(t, image)
			}
		})
	}
}

func partitions(t *testing.T, image string) []Partition {
	t.Helper()
	d := openChain(t, []Layer{{image, "raw"}})
	parts, err := d.Partitions()
	must(t, err)
	return parts
}

// checkTable compares with sfdisk; extended partitions are not listed here.
func checkTable(t *testing.T, image string) {
	t.Helper()
	var table sfdiskTable
	must(t, json.Unmarshal([]byte(tool(t, "sfdisk", "-J", image)), &table))
	var want []string
	for _, p := range table.Partitiontable.Partitions {
		if p.Type != "5" {
			want = append(want, fmt.Sprintf("%s %d %d", strings.TrimPrefix(p.Node, image), p.Start*512, p.Size*512))
		}
	}
	var got []string
	for _, p := range partitions(t, image) {
		got = append(got, fmt.Sprintf("%d %d %d", p.Number, p.Offset, p.Size))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) == 0 {
		t.Errorf("got %q, want %q", got, want)
	}
}

// damageGPT proves that the copy at the disk's end is used, and that a table
// which is damaged twice is an error.
func damageGPT(t *testing.T, image string) {
	want := partitions(t, image)
	b, err := os.ReadFile(image)
	must(t, err)
	b[2*512+40]++ // in the first entry
	must(t, os.WriteFile(image, b, 0o600))
	if got := partitions(t, image); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("with the copy: got %v, want %v", got, want)
	}
	b[len(b)-512+20]++ // in the copy's header
	must(t, os.WriteFile(image, b, 0o600))
	d := openChain(t, []Layer{{image, "raw"}})
	var damage *CorruptError
	if parts, err := d.Partitions(); !errors.As(err, &damage) {
		t.Errorf("damaged twice: got %v, %v", parts, err)
	}
}

// TestProbe compares what partitions hold with what blkid says.
func TestProbe(t *testing.T) {
	need(t, "blkid", "mkswap", "mke2fs")
	id := "01234567-89ab-cdef-0123-456789abcdef"
	for name, argv := range map[string][]string{
		"ext2": {"mke2fs", "-q", "-F", "-t", "ext2", "-L", "label two", "-U", id},
		"ext3": {"mke2fs", "-q", "-F", "-t", "ext3", "-L", "three", "-U", id},
		"ext4": {"mke2fs", "-q", "-F", "-t", "ext4", "-L", "sixteen-letters-", "-U", id},
		"jbd":  {"mke2fs", "-q", "-F", "-O", "journal_dev", "-U", id},
		"swap": {"mkswap", "-q", "-L", "paging", "-U", id},
		"vfat": {"mkfs.vfat", "-n", "FATLABEL", "-i", "ABCD1234"},
		"none": {"true"},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "fs")
			must(t, os.WriteFile(image, nil, 0o600), os.Truncate(image, 40<<20))
			need(t, argv[0])
			tool(t, append(argv, image)...)
			parts := partitions(t, image)
			if len(parts) != 1 || parts[0].Number != 0 || parts[0].Size != 40<<20 {
				t.Fatalf("got %+v, want one partition", parts)
			}
			out, _ := exec.Command("blkid", "-p", "-o", "export", image).Output()
			said := map[string]string{}
			for line := range strings.Lines(string(out)) {
				k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
				said[k] = strings.ReplaceAll(v, `\ `, " ")
			}
			want := [3]string{said["TYPE"], said["UUID"], said["LABEL"]}
			if said["UUID"] == "" {
				want[1] = said["LOGUUID"]
			}
			if got := [3]string{parts[0].Type, parts[0].UUID, parts[0].Label}; got != want {
				t.Errorf("got %q, blkid says %q", got, want)
			}
		})
	}
}

// TestSignatures puts every signature alone onto a disk.
func TestSignatures(t *testing.T) {
	for _, s := range signatures {
		b := make([]byte, 1<<20)
		copy(b[s.at:], s.magic)
		want := s.kind
		if want == "ext" {
			want = "ext2"
		}
		parts, err := Partitions(bytes.NewReader(b), int64(len(b)))
		if err != nil || len(parts) != 1 || parts[0].Type != want {
			t.Errorf("%s: got %+v, %v", s.kind, parts, err)
		}
	}
	for _, n := range []int64{0, 1, 511, 512, 1100} {
		if parts, err := Partitions(bytes.NewReader(make([]byte, n)), n); err != nil || len(parts) != 1 || parts[0].Type != "" {
			t.Errorf("a disk of %d bytes: got %+v, %v", n, parts, err)
		}
	}
}

// TestLogicalLoop has an extended partition that is in itself.
func TestLogicalLoop(t *testing.T) {
	b := make([]byte, 1<<20)
	entry := func(at int, kind byte, first, size uint32) {
		b[at+4] = kind
		le.PutUint32(b[at+8:], first)
		le.PutUint32(b[at+12:], size)
	}
	entry(446, 5, 100, 1000)
	entry(100*512+446, 0x83, 10, 10)
	entry(100*512+462, 5, 0, 1000)
	for _, at := range []int{510, 100*512 + 510} {
		b[at], b[at+1] = 0x55, 0xAA
	}
	var damage *CorruptError
	if parts, err := Partitions(bytes.NewReader(b), int64(len(b))); !errors.As(err, &damage) {
		t.Errorf("got %v, %v", parts, err)
	}
}
