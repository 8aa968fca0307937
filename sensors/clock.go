package sensors

import (
	"syscall"
	"time"
)

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
	TrustAuto   Trust = iota // the kernel
	TrustAlways              // nobody: the site keeps its own time
	TrustNever
)

// A Timekeeper stamps moments and knows how far the wall clock can be trusted.
// It is safe for concurrent use.
type Timekeeper struct{ trust Trust }

// NewTimekeeper returns a timekeeper that asks whom trust says.
func NewTimekeeper(trust Trust) *Timekeeper { return &Timekeeper{trust: trust} }

// Now stamps this moment.
func (k *Timekeeper) Now() Stamp {
	now := time.Now()
	return Stamp{Unix: now.UnixMilli(), Taken: now, Clock: k.trust.clock(now)}
}

// youngest is a date before the first release: a clock that says less is wrong.
var youngest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (t Trust) clock(now time.Time) Clock {
	switch {
	case t == TrustAlways:
		return Synced
	case t == TrustNever, now.Before(youngest), !kernelSynced():
		return Unsynced
	}
	return Synced
}

// kernelSynced reports whether a time source disciplines the kernel's clock:
// adjtimex(2) without a change returns TIME_ERROR while STA_UNSYNC is set.
func kernelSynced() bool {
	const timeError = 5 // TIME_ERROR in <sys/timex.h>
	state, err := syscall.Adjtimex(&syscall.Timex{})
	return err == nil && state != timeError
}
