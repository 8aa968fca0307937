package clock

import (
	"strings"
	"time"
)

// FormatDuration writes a duration as a person does, without the units that are zero at
// its end: 1m, 1h, 12m30s, where [time.Duration.String] has 1m0s.
func FormatDuration(d time.Duration) string {
	text := d.String() // 1h0m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
