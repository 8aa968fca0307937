package uplink

import (
	"errors"
	"math/rand/v2"
	"time"
)

// A pace is how attempts to connect follow each other: at random within a
// bound that doubles, so that a fleet does not come back all at once.
type pace struct{ first, most time.Duration }

var (
	paceNetwork = pace{time.Second, time.Minute}
	paceBusy    = pace{5 * time.Second, 5 * time.Minute}   // the broker says it is not available
	paceRefused = pace{30 * time.Second, 15 * time.Minute} // a person has to mend it
)

// backoff counts the attempts since the last session that worked.
type backoff struct {
	pace  pace
	bound time.Duration
}

func (b *backoff) reset() { *b = backoff{} }

// after is how long to wait after a failure.
func (b *backoff) after(err error) time.Duration {
	if p := paceOf(err); p != b.pace {
		b.pace, b.bound = p, p.first
	} else {
		b.bound = min(2*b.bound, p.most)
	}
	return time.Duration(rand.Int64N(int64(b.bound))) + 1
}

func paceOf(err error) pace {
	var refused *RefusedError
	switch {
	case !errors.As(err, &refused):
		return paceNetwork
	case refused.Code == 3:
		return paceBusy
	default:
		return paceRefused
	}
}
