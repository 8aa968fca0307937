package uplink

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
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

const (
	stableSession = time.Minute     // how long a session lasts that worked
	usefulSession = 2 * time.Second // how long one lasts that was worth its connection

	// shortCycle is how long a session that was reset and the wait after it take
	// together, on average: at most 30 connections in 200 s, with the first and
	// one that longer ones have saved.
	shortCycle = 7200 * time.Millisecond
)

// A backoff remembers the bound of each pace since the last stable session.
type backoff struct {
	bounds map[pace]time.Duration
	spare  time.Duration // how much longer than shortCycle the latest cycles took, at most one
}

func newBackoff() *backoff { return &backoff{bounds: map[pace]time.Duration{}, spare: shortCycle} }

// after is how long to wait after a failure, or after a session in which the
// broker acknowledged something for some time. Only a stable session resets the
// bounds.
//
// A broker that ends every session and a link that breaks every few seconds are
// told apart by who ended it, and when. A close and a breach of the protocol are
// the broker's, and the bound doubles. A reset comes from something at the other
// end that is alive: the broker that leaves what we sent unread, or a NAT or a
// proxy on a link that breaks. One right after the connection, in less than
// useful, is as good as a refusal, and doubles. A later one takes two doublings
// back, so that the link is used, but for one connection in shortCycle at most: a
// link that is reset every 5 s is used for two thirds of the time. A link that just goes silent is nobody's doing: two
// doublings back, or on one that is cut every 5 s and needs 2 s to connect the
// bound would stay at a minute, and the link be used for a tenth of the time that
// it lasts, not for a half.
func (b *backoff) after(err error, up time.Duration) time.Duration {
	p := paceOf(err)
	worked, reset := p == paceNetwork && up > 0 && !byBroker(err), mqtt.IsReset(err)
	if p == paceNetwork && up >= stableSession {
		clear(b.bounds)
		b.spare = shortCycle
	}
	switch bound := b.bounds[p]; {
	case bound == 0:
		b.bounds[p] = p.first
	case worked && (up >= usefulSession || !reset):
		b.bounds[p] = max(bound/4, p.first)
	default:
		b.bounds[p] = min(2*bound, p.most)
	}
	// At the longest bound a third is certain: else, of a thousand agents that
	// wait for one broker, more than fifty come back in the same second at times.
	bound, least := b.bounds[p], time.Duration(0)
	if bound == p.most {
		least = bound / 3
	}
	wait := least + time.Duration(rand.Int64N(int64(bound-least))) + 1
	if worked && reset {
		wait += b.spend(up + wait)
	}
	return wait
}

// spend takes note of a cycle, and returns how much longer it has to take.
func (b *backoff) spend(cycle time.Duration) (longer time.Duration) {
	b.spare = min(b.spare+cycle-shortCycle, shortCycle)
	longer = max(0, -b.spare)
	b.spare += longer
	return longer
}

// byBroker says that the broker ended the connection, or made us do so.
func byBroker(err error) bool {
	var b *mqtt.ProtocolError
	return errors.Is(err, mqtt.ErrBrokerClosed) || errors.As(err, &b)
}

func paceOf(err error) pace {
	var refused *mqtt.RefusedError
	var rival *RivalError
	switch {
	case errors.As(err, &rival):
		return paceRival
	case !errors.As(err, &refused):
		return paceNetwork
	case refused.Busy():
		return paceBusy
	default:
		return paceRefused
	}
}
