package main

import (
	"runtime/debug"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
)

// TestOnlyManyStreamsLimitGarbage: a GOGC that the user has set is not changed.
func TestOnlyManyStreamsLimitGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for _, c := range []struct {
		streams int
		gogc    string
		want    int
	}{{3, "", 100}, {1000, "", 25}, {3, "", 100}, {1000, "200", 100}} {
		t.Setenv("GOGC", c.gogc)
		var cfg config.Config
		cfg.Uplink.Streams = make([]sensors.Stream, c.streams)
		limitGarbage(cfg)
		if got := debug.SetGCPercent(100); got != c.want {
			t.Errorf("%d streams, GOGC=%q: %d percent, want %d", c.streams, c.gogc, got, c.want)
		}
	}
}
