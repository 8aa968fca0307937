package main

import (
	"os"
	"runtime/debug"

	"github.com/holdfast-iot/holdfast/config"
)

// manyStreams is the number of streams from which their tables are most of the heap. Fewer
// streams fit into the 4 MB that the heap may always have.
const manyStreams = 250

// limitGarbage limits garbage to a quarter of the memory in use, instead of the runtime's
// default of 100 %, for a node with many streams: their tables change in place, and a
// collection takes two milliseconds. A thousand readings a second cause a collection every
// two seconds. GOGC in the environment has priority.
func limitGarbage(cfg config.Config) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent(len(cfg.Uplink.Streams)))
	}
}

// gcPercent is the limit of garbage, in per cent of the memory in use.
func gcPercent(streams int) int {
	if streams >= manyStreams {
		return 25
	}
	return 100
}
