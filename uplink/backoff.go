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

// backoff remembers the bound of each pace since the last session that worked.
type backoff map[pace]time.Duration

// after is how long to wait after a failure, or after a session in which the
// broker acknowledged something for some time.
//
// Only a stable session resets the bounds. A short one that the link alone cut
// is no failure of the broker's, and takes two doublings back: on a link that is
// cut every 5 s and needs 2 s to connect the bound would else stay at a minute,
// and the link be used for a tenth of the time that it lasts, not for a half.
func (b backoff) after(err error, up time.Duration) time.Duration {
	p := paceOf(err)
	if p == paceNetwork && up >= stable {
		clear(b)
	}
	switch bound := b[p]; {
	case bound == 0:
		b[p] = p.first
	case p == paceNetwork && up > 0 && !byBroker(err):
		b[p] = max(bound/4, p.first)
	default:
		b[p] = min(2*bound, p.most)
	}
	// At the longest bound a third is certain: else, of a thousand agents that
	// wait for one broker, more than fifty come back in the same second at times.
	bound, least := b[p], time.Duration(0)
	if bound == p.most {
		least = bound / 3
	}
	return least + time.Duration(rand.Int64N(int64(bound-least))) + 1
}

// byBroker says that the broker ended the connection, or made us do so.
func byBroker(err error) bool {
	var b *breach
	return errors.Is(err, errBrokerClosed) || errors.As(err, &b)
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
