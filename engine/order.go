package engine

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assay"
)

// A Last says what to do with the cells that failed last time.
type Last string

// The values of Last.
const (
	LastAny   Last = ""
	LastOnly  Last = "only"  // run no others; if none failed, run all
	LastFirst Last = "first" // run them before the others
)

// A Shard is part Index, from 1, of a plan that is split into Of parts. The zero
// value is the whole plan.
type Shard struct{ Index, Of int }

// maxShards bounds the parts of a plan.
const maxShards = 1000

// ParseShard reads "2/5".
func ParseShard(s string) (Shard, error) {
	index, of, _ := strings.Cut(s, "/")
	i, err := strconv.Atoi(index)
	n, err2 := strconv.Atoi(of)
	if err != nil || err2 != nil || n < 1 || n > maxShards || i < 1 || i > n {
		return Shard{}, fmt.Errorf("got %q, want I/N such as 1/3, with I from 1 to N and N at most %d", s, maxShards)
	}
	return Shard{i, n}, nil
}

// String returns "2/5".
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Of) }

// failedJobs returns the jobs whose cells failed last time.
func failedJobs(jobs []job, past map[string]assay.Past) []job {
	return slices.DeleteFunc(slices.Clone(jobs), func(j job) bool { return !past[j.Cell.ID].Failed })
}

// startOrder returns the numbers of the jobs in the order in which they should
// start so that all end soon: those that may be long for all that is known, one
// of each image in turn, for each may have a template to make; then from the
// longest to the shortest; those alike in the plan's order.
func startOrder(jobs []job, past map[string]assay.Past, last Last) []int {
	order, turn := make([]int, len(jobs)), make([]int, len(jobs))
	seen := map[string]int{}
	for i, j := range jobs {
		order[i], turn[i] = i, seen[j.Cell.Image]
		seen[j.Cell.Image]++
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := past[jobs[a].Cell.ID], past[jobs[b].Cell.ID]
		if last == LastFirst && x.Failed != y.Failed {
			return falseLast(x.Failed, y.Failed)
		}
		if x.Seconds == 0 && y.Seconds == 0 {
			return cmp.Compare(turn[a], turn[b])
		}
		return cmp.Or(falseLast(x.Seconds == 0, y.Seconds == 0), cmp.Compare(y.Seconds, x.Seconds))
	})
	return order
}

func falseLast(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// A split says in which part of a plan each of its jobs is, from 1.
type split []int

// splitJobs deals the jobs out, so that each part has as many as the others or
// one more. Only the cells' names decide: what one part has recorded by the time
// that another begins must not move a cell. They are dealt in the order of their
// names' digests, or what is alike in the names, such as one image, would fall to
// one part.
func splitJobs(jobs []job, parts int) split {
	order, digest := make([]int, len(jobs)), make([][sha256.Size]byte, len(jobs))
	for i, j := range jobs {
		order[i], digest[i] = i, sha256.Sum256([]byte(j.Cell.ID))
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(digest[a][:], digest[b][:]) })
	to := make(split, len(jobs))
	for n, i := range order {
		to[i] = n%parts + 1
	}
	return to
}

// part returns the jobs of one part, in the plan's order.
func (to split) part(jobs []job, part int) []job {
	var mine []job
	for i, j := range jobs {
		if to[i] == part {
			mine = append(mine, j)
		}
	}
	return mine
}

// mark names the split: shards of plans that differ, since one host has an image
// that another lacks, together run some cells twice and others never.
func (to split) mark(jobs []job) string {
	sum := sha256.New()
	for i, j := range jobs {
		fmt.Fprintf(sum, "%d %q\n", to[i], j.Cell.ID)
	}
	return hex.EncodeToString(sum.Sum(nil)[:4])
}

// failed reports whether a verdict counts for MaxFail and for Last.
func failed(v assay.Verdict) bool { return v == assay.Fail || v == assay.Error }
