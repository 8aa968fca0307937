//go:build !hang

package systemd

import "time"

// hangOnPurpose has an effect only in the test of the watchdog: see hang.go.
func hangOnPurpose(_ string, progress func(time.Duration)) func(time.Duration) { return progress }
