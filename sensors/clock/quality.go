// Package clock makes time stamps on a machine whose wall clock may be wrong after a boot,
// and says how far each stamp can be trusted.
//
// A [Stamp] is one moment by two clocks, the wall clock and the kernel's uptime. The
// [Timekeeper] makes stamps, notices when the wall clock becomes trustworthy or is set, and
// then computes the true time of earlier stamps ([Timekeeper.Resolve]). Its knowledge of the
// boots of the kernel is a [Timeline], which is stored on disk. It asks these sources: the
// kernel (adjtimex), systemd-timesyncd, chrony, and a real-time clock with a battery.
package clock

// Quality is how far a wall-clock time can be trusted.
type Quality uint8

const (
	Synced    Quality = iota // a time source confirms it
	Estimated                // its error is at most some minutes
	Unsynced                 // no source confirms it
)

// String returns the word in payloads.
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

// Trust says which sources decide whether the wall clock is trusted: clock.trust of the
// configuration.
type Trust uint8

const (
	TrustAuto   Trust = iota // the kernel, and the programs that set its clock
	TrustAlways              // none: the clock is always trusted, because the site sets it in its own way
	TrustNever               // none: the clock is never trusted
)
