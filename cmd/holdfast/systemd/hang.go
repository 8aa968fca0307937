//go:build hang

package systemd

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// hangFile names a process and the loop of it that has to hang; a process that is started
// later does not hang. Only a binary with the build tag hang reads it, for the test in
// build/package.
const hangFile = "/run/holdfast-hang"

// hangOnPurpose blocks the goroutine of the loop that the file names.
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
