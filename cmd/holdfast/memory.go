package main

import (
	"os"
	"runtime/debug"

	"github.com/holdfast-iot/holdfast/config"
)

// manyStreams is from how many streams on their tables are what fills the heap. Fewer
// fit into the 4 MB that the heap may have in any case.
const manyStreams = 250

// limitGarbage lets garbage take a quarter of the memory that is in use, where the
// runtime's default is as much, for a node with many streams: their tables change in
// place, and a collection of them takes two milliseconds. A thousand readings a second
// make one each two seconds. The environment's GOGC comes first.
func limitGarbage(cfg config.Config) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent(len(cfg.Uplink.Streams)))
	}
}

// gcPercent is how much garbage there may be, in percent of what is in use.
func gcPercent(streams int) int {
	if streams >= manyStreams {
		return 25
	}
	return 100
}
