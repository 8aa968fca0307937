//go:build hang

package systemd

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// hangFile names the process and the loop that has to hang. The process that is
// started after it does not. Only a binary that is built with the
// tag hang looks at it, for the proof in build/package.
const hangFile = "/run/holdfast-hang"

// hangOnPurpose blocks the goroutine of the loop that the file names, for ever.
func hangOnPurpose(name string, progress func(time.Duration)) func(time.Duration) {
	return func(within time.Duration) {
		text, err := os.ReadFile(hangFile)
		if err != nil || strings.TrimSpace(string(text)) != fmt.Sprint(os.Getpid(), " ", name) {
			progress(within)
			return
		}
		progress(time.Millisecond)
		select {}
	}
}
