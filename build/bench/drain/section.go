package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/uplink"
)

// wideWindow is measured in addition to the default.
const wideWindow = 128

// whyBehind was found by trying other times than five milliseconds.
const whyBehind = `
Where holdfast sends fewer messages a second, it waits: on a quick link it lets half of a wide window be
acknowledged before it sends more, to be woken rarely, but no longer than 5 ms. A broker with Nagle's algorithm
may hold acknowledgements back for longer.
`

// section measures with both windows, and returns the text for docs/benchmarks.md.
func (p plan) section(ctx context.Context, dir string) (string, error) {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `## A drain without a subscriber

    go run ./build/bench/drain -docs docs/benchmarks.md

%s, %d cores, load before it %s, %s. %d readings from the queue up to the last acknowledgement in it, beside the MQTT
libraries alone with payloads that are made already; they take turns, and the medians of %d rounds count. What an
agent allocates more than that is the queue's, the link's and the encoder's.

| in flight | | messages/s | CPU, µs a message | allocations a message |
|---:|---|---:|---:|---:|
`, time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), bytes.Fields(load)[0], runtime.Version(), p.n, p.rounds)
	behind := false
	var ratios []string
	for _, window := range []int{uplink.DefaultWindow, wideWindow} {
		medians, ratio, err := speeds(ctx, dir, p.n, window, p.rounds)
		if err != nil {
			return "", err
		}
		b.WriteString(rows(window, medians))
		behind = behind || medians[0].rate < 0.95*max(medians[2].rate, medians[3].rate)
		ratios = append(ratios, fmt.Sprintf("%.2f with %d in flight", ratio, window))
	}
	fmt.Fprintf(&b, "\nMessages a second with MQTT 5, to the better of the agent with 3.1.1 and the library of 5 "+
		"(paho.golang): %s.\n", strings.Join(ratios, ", "))
	fmt.Fprintf(&b, "\nThe agent's window of %d is its default, which grows to %d on a quick link.\n",
		uplink.DefaultWindow, wideWindow)
	if behind {
		b.WriteString(whyBehind)
	}
	saved, err := aliases(dir, p.window)
	if err != nil {
		return "", err
	}
	b.WriteString(saved)
	return markdown.Wrap(b.String()), nil
}

// rows are the table rows for one window.
func rows(window int, medians []speed) string {
	var b strings.Builder
	for i, s := range medians {
		fmt.Fprintf(&b, "| %d | %s | %.0f | %.1f | %.1f |\n", window, clients[i].name, s.rate, s.cpu, s.allocs)
	}
	return b.String()
}
