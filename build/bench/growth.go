package main

import (
	"context"
	"fmt"

	"github.com/holdfast-iot/holdfast/build/bench/work"
)

// growth measures queues of a thousand to ten million readings, in steps of a factor of
// ten. Only the bytes should grow.
func (b *bench) growth(ctx context.Context) (lines []line, err error) {
	for n := 1000; n <= b.maxBacklog(); n *= 10 {
		f, err := b.waiting(ctx, n, hasty)
		if err != nil {
			return nil, err
		}
		dir, err := b.copied(ctx, n, hasty)
		if err != nil {
			return nil, err
		}
		opened, err := b.do(ctx, work.Job{Work: "open", Store: "ours", Dir: dir, N: n, Real: true})
		if err != nil {
			return nil, err
		}
		held, err := b.do(ctx, work.Job{Work: "hold", Store: "ours", Dir: dir, Real: true})
		if err != nil {
			return nil, err
		}
		note := fmt.Sprintf("%d readings that came at %d/s", n, hasty)
		for _, l := range []line{
			{Figure: float64(held.RssAnon) / mib, Unit: "MiB"},
			{Figure: float64(f.result.InUse), Unit: "B"},
			{Figure: opened.Open, Unit: "ms"},
		} {
			l.By, l.Note, l.Waiting = "ours", note, n
			lines = append(lines, l)
		}
	}
	return lines, nil
}
