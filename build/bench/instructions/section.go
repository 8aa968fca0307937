package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// section is the section of docs/benchmarks.md.
func (c *counter) section(ctx context.Context, rounds int) string {
	of := map[string]profile{}
	for _, p := range parts {
		of[p.name] = p.perReading
	}
	qemu, err := output(ctx, nil, "qemu-arm", "--version")
	if err != nil {
		qemu = "qemu-arm"
	}
	qemu, _, _ = strings.Cut(qemu, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, `## Instructions on ARMv6

    go run ./build/bench/instructions -docs docs/benchmarks.md

%s, %s, %s with a plugin that counts blocks of instructions as they run, GOMAXPROCS=1, `+"`-cpu arm1176`"+`.
Each part runs for two numbers of readings, as a program of its own; the difference is divided, so that a start
does not count. The broker runs beside it and is not counted. Medians of %d rounds.

| part of a reading's life | instructions |
|---|---:|
`, time.Now().UTC().Format("2006-01-02"), runtime.Version(), qemu, rounds)
	row := func(name string, n float64) { fmt.Fprintf(&b, "| %s | %.0f |\n", name, n) }
	put, encode, drain := of["put"].total(), of["encode"].total(), of["drain"].total()
	row("sample and check: timer, driver's call, four filters, number, stamp", of["sample"].total())
	row("queue: `Put`, `Peek` and `Ack`, 20 at a time", put)
	row("encode the payload", encode)
	row("publish and acknowledge, what the drain takes beside the two above", drain-put-encode)
	row("**a drained reading**: put, encoded, published, acknowledged", drain)
	row("**a live reading**: one each 20 ms, alone from its timer to its acknowledgements, as state and as history",
		of["live"].total())
	fmt.Fprintf(&b, `
The ten largest functions, instructions a reading:

| a drained reading | | a live reading | |
|---|---:|---|---:|
`)
	left, right := of["drain"].largest(10), of["live"].largest(10)
	for i := range min(len(left), len(right)) {
		fmt.Fprintf(&b, "| %s | %.0f | %s | %.0f |\n", short(left[i]), of["drain"][left[i]],
			short(right[i]), of["live"][right[i]])
	}
	b.WriteString(`
What they cannot say: time. A cache miss costs an ARM1176 some ten to a hundred instructions' time, and QEMU has no
caches. The kernel's share is not counted: system calls, the network, the card. Nor are the few instructions of
the kernel's own page that Go's atomic operations call on ARMv6 (` + "`kernelcas`" + `). The timers of Go's scheduler
count with the reading during which they happen to run, so "sample" and "live" depend on the pace, which is far
quicker here than a sensor's.
`)
	return markdown.Wrap(b.String())
}

// short is a function's name for a table, without its module's path.
func short(name string) string {
	name = strings.ReplaceAll(name, "github.com/holdfast-iot/holdfast/", "")
	return "`" + strings.ReplaceAll(name, "|", "") + "`"
}
