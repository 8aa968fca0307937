// Package clock says when a moment was, and how far that can be trusted, on a
// machine that starts without the time.
//
// A [Stamp] is one moment by two clocks, the wall clock and the kernel's uptime.
// The [Timekeeper] makes stamps, notices when the wall clock becomes trustworthy
// or is set, and reckons the true time of earlier stamps ([Timekeeper.Resolve]).
// What it knows of the boots of the kernel is a [Timeline], which outlives the
// process. The sources that it asks are the kernel (adjtimex), systemd-timesyncd,
// chrony, and a real-time clock with a battery.
package clock

// Quality is how far a wall-clock time can be trusted.
type Quality uint8

const (
	Synced    Quality = iota // a time source stands behind it
	Estimated                // good to minutes
	Unsynced                 // no source confirms it
)

// String is the word that payloads have.
func (q Quality) String() string {
	switch q {
	case Synced:
		return "ok"
	case Estimated:
		return "estimated"
	default:
		return "unsynced"
	}
}

// Trust says which sources decide about the wall clock.
type Trust uint8

const (
	TrustAuto   Trust = iota // the kernel, and the programs that set its clock
	TrustAlways              // none: the site keeps its own time
	TrustNever
)
