package clock_test

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A reading was taken 90 s after the board started, and the wall clock still showed
// 1970. Later in that boot the time was known, and the queue's file kept when the
// kernel had booted. A later start of the agent takes that over, and the reading
// gets its time.
func ExampleTimekeeper_Resolve() {
	reading := clock.Stamp{Unix: 92_000, Uptime: 90 * time.Second, Kernel: "2f1c0a99", Clock: clock.Unsynced}

	keeper := clock.NewTimekeeper(clock.TrustNever)
	before := keeper.Resolve(reading) // nothing is known of that boot
	booted := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	keeper.Restore(clock.Timeline{{Kernel: "2f1c0a99", Began: booted.UnixMilli()}})
	after := keeper.Resolve(reading)

	fmt.Println(time.UnixMilli(before.Unix).UTC().Format(time.DateTime), before.Clock)
	fmt.Println(time.UnixMilli(after.Unix).UTC().Format(time.DateTime), after.Clock)
	// Output:
	// 1970-01-01 00:01:32 unsynced
	// 2026-11-25 03:01:30 estimated
}
