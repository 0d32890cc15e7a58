//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"assay/vm"
)

// smallMemory is the machine whose cost in memory is measured, in bytes.
const smallMemory = 256 << 20

// memorySubject asks what a machine costs the host in memory.
func memorySubject() Subject {
	return Subject{
		Name: "memory", Reps: 3,
		Measures: []Measure{{Name: "memory", Title: "proportional memory of a machine of 256 MiB after its first command", Unit: "MiB"}},
		Contestants: []Contestant{
			{Name: "assay", What: "ten clones alive: each one's share, as Usage tells it", Open: openMemory},
			{Name: "qemu", What: "one machine that booted: its share, by the kernel", Slow: true, Open: openPlainMemory},
		},
	}
}

func openMemory(_ context.Context, st *Stage) (Sampler, error) {
	return func(ctx context.Context) (s Sample, err error) {
		machines, err := st.launchMany(ctx, crowd, smallMemory)
		defer func() { err = errors.Join(err, closeAll(machines)) }()
		if err != nil {
			return nil, err
		}
		s = Sample{}
		for _, m := range machines {
			usager, err := vm.As[vm.Usager](m)
			if err != nil {
				return nil, err
			}
			use, err := usager.Usage(ctx)
			if err != nil {
				return nil, err
			}
			s["memory"] = append(s["memory"], mebibytes(use.Memory))
		}
		return s, nil
	}, nil
}

func openPlainMemory(_ context.Context, st *Stage) (Sampler, error) {
	return func(ctx context.Context) (s Sample, err error) {
		p, err := st.startPlain(ctx, plainOptions{memory: smallMemory})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		if err := p.firstTrue(ctx); err != nil {
			return nil, err
		}
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
		if err != nil {
			return nil, err
		}
		share, err := proportional(data)
		return one("memory", mebibytes(share)), err
	}, nil
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// proportional reads the proportional set size, in bytes, out of smaps_rollup.
func proportional(rollup []byte) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(rollup)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("smaps_rollup: got no line Pss")
}
