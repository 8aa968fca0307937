package clock

import (
	"testing"
	"time"
)

func TestDurationsAreFormattedShort(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "1m": time.Minute, "1h": time.Hour, "1m30s": 90 * time.Second, "10m": 10 * time.Minute,
		"20s": 20 * time.Second, "1h1m": 61 * time.Minute, "1h0m1s": time.Hour + time.Second,
		"31.4s": 31_400 * time.Millisecond, "50ms": 50 * time.Millisecond, "-1h": -time.Hour,
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
		if again, err := time.ParseDuration(FormatDuration(d)); err != nil || again != d {
			t.Errorf("%s is read as %v, %v", want, again, err)
		}
	}
}
