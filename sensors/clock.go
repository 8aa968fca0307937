package sensors

// Clock says how far a wall-clock time can be trusted.
type Clock uint8

const (
	Synced    Clock = iota // a time source stands behind it
	Estimated              // good to minutes
	Unsynced               // nothing vouches for it
)

func (c Clock) String() string {
	switch c {
	case Synced:
		return "ok"
	case Estimated:
		return "estimated"
	default:
		return "unsynced"
	}
}

// Trust says whom to ask about the wall clock.
type Trust uint8

const (
	TrustAuto   Trust = iota // the kernel, and who sets its clock
	TrustAlways              // nobody: the site keeps its own time
	TrustNever
)
