//go:build hang

package systemd

import (
	"os"
	"strings"
	"time"
)

// hangFile names the loop that has to hang. Only a binary that is built with the
// tag hang looks at it, for the proof in build/package.
const hangFile = "/run/holdfast-hang"

// hangOnPurpose blocks the goroutine of the loop that the file names, for ever.
func hangOnPurpose(name string, progress func(time.Duration)) func(time.Duration) {
	return func(within time.Duration) {
		text, err := os.ReadFile(hangFile)
		if err != nil || strings.TrimSpace(string(text)) != name {
			progress(within)
			return
		}
		progress(time.Millisecond)
		select {}
	}
}
