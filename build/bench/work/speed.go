package work

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	putRounds   = 41
	putsInRound = 2000
	putSync     = 150 * time.Millisecond // short: the disk writes between two rounds
)

// put measures Put with a large and a small backlog, in turn, so that other load of the
// machine slows both.
func put(ctx context.Context, j Job) (r Result, err error) {
	large, err := openOurs(ctx, filepath.Join(j.Dir, file), putSync)
	if err != nil {
		return r, err
	}
	small, err := openOurs(ctx, filepath.Join(j.Small, file), putSync)
	if err != nil {
		return r, err
	}
	keep := small.backlog()
	src := newSource(3)
	var larges, smalls, ratios []float64
	for range putRounds {
		readings := make([]sensors.Reading, putsInRound)
		for i := range readings {
			readings[i] = src.next()
		}
		a, allocs := timePuts(large, readings)
		b, _ := timePuts(small, readings)
		larges, smalls, ratios = append(larges, a), append(smalls, b), append(ratios, a/b)
		r.Allocs = max(r.Allocs, allocs)
		if err := errors.Join(large.written(), small.written(), takeUntil(ctx, small, keep)); err != nil {
			return r, err
		}
	}
	r.Readings = large.backlog()
	r.Put, r.PutSmall, r.PutRatio = median(larges), median(smalls), median(ratios)
	r.PutWorst = slices.Max(append(larges, smalls...))
	return r, errors.Join(large.close(), small.close())
}

// timePuts returns the ns and the allocations of one Put.
func timePuts(o *ours, readings []sensors.Reading) (ns, allocs float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	for _, r := range readings {
		o.Put(r)
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	n := float64(len(readings))
	return float64(took) / n, float64(after.Mallocs-before.Mallocs) / n
}

// written waits until everything is on disk.
func (o *ours) written() error {
	for range 1000 {
		if o.Stats().Memory == 0 {
			return nil
		}
		time.Sleep(putSync / 10)
	}
	return errors.New("the queue does not write")
}

// putNaive measures single puts.
func putNaive(ctx context.Context, j Job) (Result, error) {
	return with(ctx, j, func(s store) (Result, error) {
		src, start := newSource(3), time.Now()
		for range j.N {
			if err := s.put(src.next()); err != nil {
				return Result{}, err
			}
		}
		return Result{Readings: s.backlog(), Put: float64(time.Since(start)) / float64(j.N)}, nil
	})
}

// read takes readings as fast as possible.
func read(ctx context.Context, j Job) (Result, error) {
	return with(ctx, j, func(s store) (Result, error) {
		start, left := time.Now(), s.backlog()-j.N
		if err := takeUntil(ctx, s, left); err != nil {
			return Result{}, err
		}
		return Result{Readings: j.N, PerSecond: float64(j.N) / time.Since(start).Seconds()}, nil
	})
}

func takeUntil(ctx context.Context, s store, left int) error {
	for n := s.backlog() - left; n > 0; {
		taken, err := s.take(ctx, min(n, 500))
		if err != nil {
			return err
		}
		n -= taken
	}
	return nil
}

// openTimes opens the store several times.
func openTimes(ctx context.Context, j Job) (r Result, err error) {
	var ms []float64
	for range 5 {
		start := time.Now()
		s, err := open(ctx, j)
		ms = append(ms, float64(time.Since(start))/float64(time.Millisecond))
		if err != nil {
			return r, err
		}
		r.Readings = s.backlog()
		if err := s.close(); err != nil {
			return r, err
		}
	}
	if r.Readings != j.N {
		return r, fmt.Errorf("%d readings wait, want %d", r.Readings, j.N)
	}
	r.Open = median(ms)
	return r, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
