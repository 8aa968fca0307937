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
	paceRival   = pace{time.Minute, 15 * time.Minute}      // another client uses our client ID: it is not fought
)

// stable is how long a session lasts that worked.
const stable = 30 * time.Second

// errBrokerClosed is a connection that the other end closed in order.
var errBrokerClosed = errors.New("the broker closed the connection")

// backoff counts the attempts since the last session that worked.
type backoff struct {
	pace  pace
	bound time.Duration
}

// after is how long to wait after a failure, or after a session in which the
// broker acknowledged something for some time. A short session that the link
// alone cut is no failure of the broker's, and brings the bound down.
func (b *backoff) after(err error, up time.Duration) time.Duration {
	p := paceOf(err)
	switch {
	case p != b.pace, p == paceNetwork && up >= stable:
		b.pace, b.bound = p, p.first
	case p == paceNetwork && up > 0 && !errors.Is(err, errBrokerClosed):
		b.bound = max(b.bound/4, p.first)
	default:
		b.bound = min(2*b.bound, p.most)
	}
	// At the longest bound a third is certain: else, of a thousand agents that
	// wait for one broker, more than fifty come back in the same second at times.
	least := time.Duration(0)
	if b.bound == p.most {
		least = b.bound / 3
	}
	return least + time.Duration(rand.Int64N(int64(b.bound-least))) + 1
}

func paceOf(err error) pace {
	var refused *RefusedError
	var rival *RivalError
	switch {
	case errors.As(err, &rival):
		return paceRival
	case !errors.As(err, &refused):
		return paceNetwork
	case refused.busy():
		return paceBusy
	default:
		return paceRefused
	}
}
