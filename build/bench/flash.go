package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdfast-iot/holdfast/build/bench/work"
)

// trio is the same work for the three stores. The naive one may do less of it, because its
// bytes per reading do not depend on the number of readings.
type trio struct {
	job    work.Job
	naive  int    // readings
	from   string // the folder that ours starts with
	atMost *float64
}

var stores = [...]string{"ours", "naive", "ring"}

func (b *bench) trio(ctx context.Context, t trio) ([]line, error) {
	var lines [len(stores)]line
	var errs [len(stores)]error
	var all sync.WaitGroup
	for i, by := range stores {
		all.Go(func() {
			var r work.Result
			r, errs[i] = b.one(ctx, t, by)
			lines[i] = flashLine(by, r)
		})
	}
	all.Wait()
	ours, ring := &lines[0], lines[2]
	ours.AtMost = t.atMost
	if ring.Figure > 0 {
		ours.ToRing = atMost(ours.Figure / ring.Figure)
	}
	return lines[:], errors.Join(errs[:]...)
}

// one runs the work for one of the three, on its own disk.
func (b *bench) one(ctx context.Context, t trio, by string) (work.Result, error) {
	j, from := t.job, ""
	j.Store = by
	switch by {
	case "ours":
		from = t.from
	case "naive":
		j.N = min(j.N, t.naive)
	}
	return b.onDisk(ctx, j, from)
}

// flashLine reports the bytes per reading, and their origin.
func flashLine(by string, r work.Result) line {
	l := line{By: by, Unit: "B/reading", Figure: float64(r.Written) / float64(r.Readings)}
	l.Note = fmt.Sprintf("%d readings, %d commits", r.Readings, r.Commits)
	if r.Commits > 0 {
		n := float64(r.Commits)
		l.Note += fmt.Sprintf(" of %s B, %s of them the store's own", number(float64(r.Written)/n),
			number(float64(r.Handed)/n))
	}
	return l
}

func (b *bench) linkWell(ctx context.Context) ([]line, error) {
	j := work.Job{Work: "linkwell", N: b.pick(6000, 1500), Rate: 10}
	return b.trio(ctx, trio{job: j, naive: b.pick(500, 100), atMost: atMost(0)})
}

func (b *bench) outage3(ctx context.Context) ([]line, error) {
	j := work.Job{Work: "outage", N: b.pick(1800, 900), Rate: 3}
	return b.trio(ctx, trio{job: j, naive: b.pick(600, 150), atMost: atMost(1500)})
}

func (b *bench) outage3Deep(ctx context.Context) ([]line, error) {
	deep := b.pick(1_000_000, 50_000)
	f, err := b.waiting(ctx, deep, steady)
	if err != nil {
		return nil, err
	}
	j := work.Job{Work: "outage", N: b.pick(1800, 900), Rate: 3, Backlog: deep}
	return b.trio(ctx, trio{job: j, naive: b.pick(600, 150), from: f.dir, atMost: atMost(1500)})
}

func (b *bench) outage100(ctx context.Context) ([]line, error) {
	j := work.Job{Work: "outage", N: b.pick(12_000, 6000), Rate: 100}
	return b.trio(ctx, trio{job: j, naive: b.pick(1000, 200), atMost: atMost(100)})
}

func (b *bench) alarms(ctx context.Context) ([]line, error) {
	j := work.Job{Work: "alarms", N: b.pick(300, 100), Rate: 0.5}
	return b.trio(ctx, trio{job: j, naive: b.pick(300, 100)})
}

func (b *bench) drain(ctx context.Context) ([]line, error) {
	n := b.pick(100_000, 50_000)
	f, err := b.waiting(ctx, n, steady)
	if err != nil {
		return nil, err
	}
	j := work.Job{Work: "drain", N: n, Backlog: n}
	return b.trio(ctx, trio{job: j, naive: b.pick(1000, 200), from: f.dir, atMost: atMost(32)})
}

// realTime shows whether simulated time makes a store look better.
func (b *bench) realTime(ctx context.Context) (lines []line, err error) {
	for _, real := range []bool{false, true} {
		j := work.Job{Work: "outage", N: 180, Rate: 3, Real: real}
		three, err := b.trio(ctx, trio{job: j, naive: j.N})
		if err != nil {
			return lines, err
		}
		for _, l := range three {
			l.By += map[bool]string{false: ", simulated", true: ", real"}[real]
			lines = append(lines, l)
		}
	}
	return lines, nil
}

func (b *bench) atRest(ctx context.Context) (lines []line, err error) {
	for _, at := range []struct {
		n    int
		rate float64
	}{
		{b.pick(1_000_000, 50_000), steady},
		{b.pick(100_000, 5000), 3}, // small blocks, until they are merged
	} {
		f, err := b.waiting(ctx, at.n, at.rate)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line{
			By: "ours", Unit: "B/reading", Figure: float64(f.result.InUse) / float64(at.n), AtMost: atMost(16),
			Note: fmt.Sprintf("%d readings that came at %g/s", at.n, at.rate),
		})
	}
	return lines, nil
}
