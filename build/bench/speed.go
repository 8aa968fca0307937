package main

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/holdfast-iot/holdfast/build/bench/work"
)

// maxBacklog is the largest backlog that is measured.
func (b *bench) maxBacklog() int {
	size := 10_000_000
	if bits.UintSize == 32 {
		size = 1_000_000 // bbolt's file ends at 2 GiB there
	}
	return b.pick(size, 500_000)
}

func (b *bench) put(ctx context.Context) ([]line, error) {
	large, err := b.copied(ctx, b.maxBacklog(), hasty)
	if err != nil {
		return nil, err
	}
	small, err := b.copied(ctx, 1000, hasty)
	if err != nil {
		return nil, err
	}
	r, err := b.do(ctx, work.Job{Work: "put", Store: "ours", Dir: large, Small: small, Real: true})
	if err != nil {
		return nil, err
	}
	naive, err := b.folder()
	if err != nil {
		return nil, err
	}
	n, err := b.do(ctx, work.Job{Work: "putnaive", Store: "naive", Dir: naive, N: 200, Backlog: 1000, Real: true})
	if err != nil {
		return nil, err
	}
	behind := fmt.Sprintf("behind %d", r.Readings)
	return []line{
		{By: "ours", Figure: r.Allocs, Unit: "allocs/Put", AtMost: atMost(2), Note: "in the worst round"},
		{By: "ours", Figure: r.PutSmall / 1000, Unit: "µs/Put", AtMost: atMost(2),
			Note: "behind 1000, median; in the slowest round of all " + number(r.PutWorst/1000)},
		{By: "ours", Figure: r.Put / 1000, Unit: "µs/Put", AtMost: atMost(2), Note: behind + ", median"},
		{By: "ours", Figure: r.PutRatio, Unit: "ratio", AtMost: atMost(1.2),
			Note: behind + " to behind 1000, median of the rounds"},
		{By: "naive", Figure: n.Put / 1000, Unit: "µs/Put", Note: "behind 1000"},
	}, nil
}

func (b *bench) read(ctx context.Context) ([]line, error) {
	n := b.pick(1_000_000, 50_000)
	dir, err := b.copied(ctx, n, steady)
	if err != nil {
		return nil, err
	}
	ours, err := b.do(ctx, work.Job{Work: "read", Store: "ours", Dir: dir, N: n, Real: true})
	if err != nil {
		return nil, err
	}
	if dir, err = b.folder(); err != nil {
		return nil, err
	}
	naive, err := b.do(ctx, work.Job{Work: "read", Store: "naive", Dir: dir, N: 300, Backlog: 10_000, Real: true})
	least := 500_000.0
	return []line{
		{By: "ours", Figure: ours.PerSecond, Unit: "readings/s", AtLeast: &least, Note: fmt.Sprintf("%d readings", n)},
		{By: "naive", Figure: naive.PerSecond, Unit: "readings/s", Note: "300 readings of 10000"},
	}, err
}

func (b *bench) open(ctx context.Context) (lines []line, err error) {
	n := b.pick(1_000_000, 50_000)
	dir, err := b.copied(ctx, n, steady)
	if err != nil {
		return nil, err
	}
	for _, by := range []string{"ours", "naive"} {
		j := work.Job{Work: "open", Store: by, Dir: dir, N: n, Real: true}
		if by == "naive" {
			j.Backlog = n
			if j.Dir, err = b.folder(); err != nil {
				return lines, err
			}
		}
		r, err := b.do(ctx, j)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line{By: by, Figure: r.Open, Unit: "ms",
			Note: fmt.Sprintf("%d readings, file cached", n)})
	}
	lines[0].AtMost = atMost(200)
	return lines, nil
}
