package main

import (
	"context"
	"fmt"

	"github.com/holdfast-iot/holdfast/build/bench/work"
)

const mib = 1 << 20

func (b *bench) memory(ctx context.Context) ([]line, error) {
	n := b.pick(1_000_000, 50_000)
	full, err := b.copied(ctx, n, steady)
	if err != nil {
		return nil, err
	}
	empty, err := b.folder()
	if err != nil {
		return nil, err
	}
	var r [2]work.Result
	for i, dir := range []string{empty, full} {
		if r[i], err = b.do(ctx, work.Job{Work: "hold", Store: "ours", Dir: dir, Real: true}); err != nil {
			return nil, err
		}
	}
	return []line{
		{By: "ours", Figure: float64(r[1].RssAnon-r[0].RssAnon) / mib, Unit: "MiB", AtMost: atMost(4),
			Note: fmt.Sprintf("RssAnon of %d readings: %s after %s with none", n, mibs(r[1].RssAnon),
				mibs(r[0].RssAnon))},
		{By: "ours", Figure: float64(r[1].RssFile-r[0].RssFile) / mib, Unit: "MiB",
			Note: fmt.Sprintf("RssFile, the mapped file: %s after %s", mibs(r[1].RssFile), mibs(r[0].RssFile))},
	}, nil
}

func mibs(bytes int64) string { return number(float64(bytes) / mib) }
