package uplink

import (
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// TestASilentStreamHasThreeIntervals, and never less than half a minute.
func TestASilentStreamHasThreeIntervals(t *testing.T) {
	for every, want := range map[time.Duration]time.Duration{0: firstReadingTimeout, time.Second: firstReadingTimeout,
		time.Minute: 3 * time.Minute} {
		if got := timeoutFor(&sensors.Stream{Every: every}); got != want {
			t.Errorf("every %v: %v, want %v", every, got, want)
		}
	}
}
