package main

import (
	"fmt"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

const (
	growthTitle  = "What a queue takes by the number of readings that wait"
	streamsTitle = "What an agent takes by its readings a second"
	mib          = 1 << 20
)

// byUnit are the figures of one unit, by the size of the backlog.
func byUnit(all []amount, unit string, scale float64) (points []point) {
	for _, a := range all {
		if a.Unit == unit {
			points = append(points, point{float64(a.Waiting), a.Figure * scale})
		}
	}
	return points
}

func growthPanels(all []amount) []panel {
	one := func(title, unit string, scale float64, logarithmic bool) panel {
		return panel{title: title, below: "readings that wait", logarithmic: logarithmic,
			series: []series{{points: byUnit(all, unit, scale)}}}
	}
	return []panel{one("memory, MiB", "MiB", 1, false), one("on disk, MiB", "B", 1.0/mib, true),
		one("time to open, ms", "ms", 1, false)}
}

func streamsPanels(all []load) []panel {
	one := func(title string, logarithmic bool, figure func(load) float64) panel {
		many, single := series{name: "a stream for each reading a second"}, series{name: "one stream"}
		for _, l := range all {
			at := point{l.rate, figure(l)}
			if l.Streams == l.rate {
				many.points = append(many.points, at)
			}
			if l.Streams == 1 {
				single.points = append(single.points, at)
			}
		}
		return panel{title: title, below: "readings a second", logarithmic: logarithmic, series: []series{many, single}}
	}
	return []panel{one("CPU, % of a core", false, func(l load) float64 { return 100 * l.Core }),
		one("memory, MiB", false, func(l load) float64 { return l.Memory / mib }),
		one("bytes of a reading on disk", true, func(l load) float64 { return l.AtRest })}
}

// growthSection is the picture with a summary of its numbers.
func growthSection(all []amount) string {
	var b strings.Builder
	fmt.Fprintf(&b, `## What grows with the backlog

    cd build/bench/peers && go run ./plots -only growth

%s.

![%s](plots/growth.svg)

The readings came at 1,500 a second. Memory is that of a process with such a queue and nothing else; opened is a file
that the kernel has in memory.

| wait | memory, MiB | on disk, MiB | open, ms |
|---:|---:|---:|---:|
`, machine(), growthTitle)
	memory, disk, open := byUnit(all, "MiB", 1), byUnit(all, "B", 1.0/mib), byUnit(all, "ms", 1)
	for i := range min(len(memory), len(disk), len(open)) {
		fmt.Fprintf(&b, "| %.0f | %.1f | %.2f | %.1f |\n", memory[i].x, memory[i].y, disk[i].y, open[i].y)
	}
	return markdown.Wrap(b.String())
}

// streamsSection is the picture with a summary of its numbers.
func streamsSection(loads []load, t times) string {
	var b strings.Builder
	fmt.Fprintf(&b, `## What grows with the streams

    cd build/bench/peers && go run ./plots -only streams

%s.

![%s](plots/streams.svg)

An agent with simulated sensors: so many streams with a reading a second each, beside one stream with as many
readings. Processor time is counted for %v while the broker is there, bytes after %v without it: what is on disk
after so short a time is in small blocks, which are merged later, and few readings share the first pages of the file.

| streams | readings/s | CPU, %% of a core | memory, MiB | bytes of a reading on disk |
|---:|---:|---:|---:|---:|
`, machine(), streamsTitle, t.calm, t.away)
	for _, l := range loads {
		fmt.Fprintf(&b, "| %.0f | %.0f | %.2f | %.1f | %.1f |\n", l.Streams, l.rate, 100*l.Core, l.Memory/mib, l.AtRest)
	}
	return markdown.Wrap(b.String())
}
