package uplink

import (
	"errors"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A pace is how attempts to connect follow each other: within a bound that doubles.
type pace struct{ first, max time.Duration }

var (
	paceLink    = pace{time.Second, time.Minute}           // the broker is not reached
	paceBusy    = pace{5 * time.Second, 5 * time.Minute}   // the broker says it is not available
	paceRefused = pace{30 * time.Second, 15 * time.Minute} // a person has to mend it
	paceRival   = pace{time.Minute, 15 * time.Minute}      // another client uses our client ID: it is not fought
)

const (
	// DefaultWithin is the usual Options.Within.
	DefaultWithin = 5 * time.Second
	maxTurn       = time.Minute // between two attempts at a broker that closes or refuses

	youngOutage   = 2 * time.Minute // for how long an outage is expected to end at any moment
	stableSession = time.Minute     // how long a session lasts that worked
	usefulSession = 2 * time.Second // how long one lasts that was worth its connection

	// shortCycle is how long a session that was reset and the wait after it take
	// together, on average: at most 30 connections in 200 s, with the first and
	// one that longer ones have saved. Where none is ever up chance may add some: 36.
	shortCycle = 7200 * time.Millisecond
)

// A backoff says how long to wait before the next attempt to connect.
//
// Two cases are distinguished by what happened. Our own link was away: nobody else
// waits for the same moment, and each second is an attempt. Or the broker closed or
// refused: a fleet waits for it, and each agent has its turn.
type backoff struct {
	turn   time.Duration          // between two attempts at a broker while its outage is young
	phase  float64                // of our attempts in a turn, from 0 to 1
	bounds map[pace]time.Duration // of each pace since the last stable session
	began  time.Time              // of the outage; zero: no attempt has failed yet
	spare  time.Duration          // how much longer than shortCycle the latest cycles took, at most one
}

// newBackoff is for an agent whose attempts at a broker come within some time, nine
// of ten of them: a tenth more spreads a fleet further.
func newBackoff(clientID string, within time.Duration) *backoff {
	if within <= 0 {
		within = DefaultWithin
	}
	return &backoff{turn: min(within*10/9, maxTurn), phase: phaseOf(clientID), bounds: map[pace]time.Duration{},
		spare: shortCycle}
}

// phaseOf is when in a turn an agent is due. Agents whose client IDs differ in a
// number at their end are spread evenly, by the golden ratio: of a thousand, in turns
// of 22 s, 45 or 46 come in a second. Others are spread by chance, up to 79.
func phaseOf(clientID string) float64 {
	name := strings.TrimRight(clientID, "0123456789")
	number, _ := strconv.ParseUint(clientID[len(name):], 10, 64) // too long a number counts as the largest
	hash := fnv.New64a()
	if len(clientID)-len(name) > maxNumber {
		name, number = clientID, 0 // a serial number
	}
	hash.Write([]byte(name))
	offset := float64(mix(hash.Sum64())) / (1 << 64)
	_, phase := math.Modf(offset + float64(number)*(math.Phi-1))
	return phase
}

// maxNumber is how many digits a number has by which somebody counts agents.
const maxNumber = 6

// mix spreads the bits of a hash: those of FNV hardly change in front when the end
// of a name does (the last step of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// after is how long to wait after a failure, or after a session in which the broker
// acknowledged something for some time. alone says that nobody else waits for the
// same moment: a link that is back may end the wait.
//
// A broker that ends every session and a link that breaks every few seconds are
// distinguished by who ended it, and when. A close and a protocol error are the
// broker's: the first wait is a turn, and each further one may skip twice as many
// turns. A reset comes from something at the other end that is alive: the broker that
// leaves what we sent unread, or a NAT or a proxy on a link that breaks. One right
// after the connection, in less than usefulSession, is as good as a close. A later one
// of a session that was not stable is nobody else's: the link is used, but for one
// connection in shortCycle at most. A link that is reset every 5 s is used for 60 % of
// the time. A link that just goes silent is nobody's doing: the next attempt comes
// within a second.
func (b *backoff) after(now time.Time, err error, up time.Duration) (wait time.Duration, alone bool) {
	p := paceOf(err)
	if p != paceLink {
		return jitter(b.double(p)), false
	}
	if up >= stableSession {
		clear(b.bounds)
		b.spare = shortCycle
	}
	if up > 0 || b.began.IsZero() {
		b.began = now
	}
	young := now.Sub(b.began) < youngOutage
	if isAlone(err, up) {
		if young {
			return p.first/2 + rand.N(p.first/2), true
		}
		return jitter(b.double(p)), true
	}
	turns := pace{b.turn, maxTurn}
	switch {
	case up == 0 && young && b.bounds[turns] <= b.turn:
		return b.untilTurn(now, 1), false
	case mqtt.IsReset(err) && usefulSession <= up && up < stableSession:
		b.bounds[turns] /= 4
		wait = jitter(p.first)
	default:
		wait = b.untilTurn(now, b.double(turns)/b.turn)
	}
	if up > 0 && mqtt.IsReset(err) {
		wait += b.spend(up + wait)
	}
	return wait, false
}

// double is the next bound of a pace.
func (b *backoff) double(p pace) time.Duration {
	b.bounds[p] = max(p.first, min(2*b.bounds[p], p.max))
	return b.bounds[p]
}

// jitter is a time at random up to a bound.
func jitter(bound time.Duration) time.Duration { return rand.N(bound) + 1 }

// sameTurn is how long an attempt may have begun before its time by the wall clock.
const sameTurn = 10 * time.Millisecond

// untilTurn is how long it is until one of our next turns, of so many. Turns are those of the wall clock,
// so agents that find out at different times that the broker has gone are spread all
// the same. Where clocks differ they are spread by chance. Who waits for longer than
// a turn skips some: then too no second gets more than its share.
func (b *backoff) untilTurn(now time.Time, of time.Duration) time.Duration {
	since := time.Duration(now.UnixNano() % int64(b.turn))
	wait := time.Duration(b.phase*float64(b.turn)) - since
	if wait <= sameTurn {
		wait += b.turn
	}
	return wait + b.turn*rand.N(of)
}

// spend takes note of a cycle, and returns how much longer it has to take.
func (b *backoff) spend(cycle time.Duration) (longer time.Duration) {
	b.spare = min(b.spare+cycle-shortCycle, shortCycle)
	longer = max(0, -b.spare)
	b.spare += longer
	return longer
}

// isAlone says that our own link was away: the broker could not be reached, or a
// session that had worked ended without a word from the other end.
func isAlone(err error, up time.Duration) bool {
	return !byBroker(err) && !mqtt.IsReset(err) && (up > 0 || mqtt.IsUnreachable(err))
}

// byBroker says that the broker ended the connection, or made us do so.
func byBroker(err error) bool {
	var wrong *mqtt.ProtocolError
	var ended *mqtt.DisconnectError
	return errors.Is(err, mqtt.ErrBrokerClosed) || errors.As(err, &wrong) || errors.As(err, &ended)
}

func paceOf(err error) pace {
	var refused *mqtt.RefusedError
	var rival *RivalError
	var ended *mqtt.DisconnectError
	switch {
	case errors.As(err, &rival), errors.As(err, &ended) && ended.TakenOver():
		return paceRival
	case ended != nil && ended.Busy():
		return paceBusy
	case !errors.As(err, &refused):
		return paceLink
	case refused.Busy():
		return paceBusy
	default:
		return paceRefused
	}
}
