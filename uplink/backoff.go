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

// A pace is an exponential backoff: the limit of the random wait doubles from first to max.
type pace struct{ first, max time.Duration }

var (
	paceLink    = pace{time.Second, time.Minute}           // the broker cannot be reached
	paceBusy    = pace{5 * time.Second, 5 * time.Minute}   // the broker says that it is not available
	paceRefused = pace{30 * time.Second, 15 * time.Minute} // a person has to fix something
	paceRival   = pace{time.Minute, 15 * time.Minute}      // connecting ends the session of another client
)

const (
	// DefaultWithin is the usual Options.Within.
	DefaultWithin = 5 * time.Second
	maxSlot       = time.Minute // between two attempts after the broker closed or refused

	youngOutage   = 2 * time.Minute // after this time an outage is expected to last, and attempts become rare
	stableSession = time.Minute     // a session that lasts so long has worked
	usefulSession = 2 * time.Second // a session that lasts so long was worth its connection

	// shortCycle is the minimum average time of a session that ends by a reset, with the
	// wait after it. It limits connections to 30 in 200 s, with the first one and one that
	// longer cycles have saved. If no session is ever up, random waits may allow 36.
	shortCycle = 7200 * time.Millisecond
)

// A backoff computes how long to wait before the next attempt to connect.
//
// There are two cases. If only our own link was down, no other agent waits for the same
// moment, and there is an attempt each second. If the broker closed or refused the
// connection, a fleet may wait for it. Then time is divided into slots of equal length,
// and each agent connects at its own phase of a slot.
type backoff struct {
	slot   time.Duration          // between two attempts while the outage of the broker is young
	phase  float64                // when our attempt comes in a slot, from 0 to 1
	bounds map[pace]time.Duration // current limit of each pace; cleared by a stable session
	began  time.Time              // of the outage; zero: no attempt has failed yet
	spare  time.Duration          // how much longer than shortCycle recent cycles took; at most shortCycle
}

// newBackoff returns the backoff of an agent. Nine of ten attempts of a fleet come within
// a time after the broker is back; the slot is a ninth longer to spread a fleet further.
func newBackoff(clientID string, within time.Duration) *backoff {
	if within <= 0 {
		within = DefaultWithin
	}
	return &backoff{slot: min(within*10/9, maxSlot), phase: phaseOf(clientID), bounds: map[pace]time.Duration{},
		spare: shortCycle}
}

// phaseOf returns the phase of an agent. Agents whose client IDs differ in a number at the
// end are spread evenly, by the golden ratio: of a thousand agents with slots of 22 s, 45
// or 46 connect in each second. Others are spread by a hash, with up to 79 in a second.
func phaseOf(clientID string) float64 {
	name := strings.TrimRight(clientID, "0123456789")
	number, _ := strconv.ParseUint(clientID[len(name):], 10, 64) // too long a number counts as the largest
	hash := fnv.New64a()
	if len(clientID)-len(name) > maxNumber {
		name, number = clientID, 0 // a serial number is hashed with the name
	}
	hash.Write([]byte(name))
	offset := float64(mix(hash.Sum64())) / (1 << 64)
	_, phase := math.Modf(offset + float64(number)*(math.Phi-1))
	return phase
}

// maxNumber is how many digits a number at the end of a client ID may have to count agents.
// With more digits it is a serial number.
const maxNumber = 6

// mix spreads the bits of a hash, as the last step of MurmurHash3 does: the high bits of
// FNV hardly change with the end of a name.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// after returns how long to wait after a failed attempt or the end of a session. up is the
// time since the first acknowledgement of the session; 0: there was none. alone means that
// only our link was down, so no fleet waits for the same moment, and the wait may end early
// when the link is back.
//
// It distinguishes a broker that ends every session from a link that breaks every few
// seconds by how and when the session ended:
//   - A close or a protocol error comes from the broker. The first wait is one slot, and
//     with each further one the number of slots that may be skipped doubles.
//   - A reset comes from the broker, if it closed a socket with unread data, or from a NAT
//     or a proxy on a bad link. Before usefulSession it is treated as a close. Later, in a
//     session that was not stable, the link is used again soon, but with at most one
//     connection in shortCycle. So a link that is reset every 5 s is used 60 % of the time.
//   - A link that becomes silent has failed by itself: the next attempt comes within a
//     second.
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
	slots := pace{b.slot, maxSlot}
	switch {
	case up == 0 && young && b.bounds[slots] <= b.slot:
		return b.untilSlot(now, 1), false
	case mqtt.IsReset(err) && usefulSession <= up && up < stableSession:
		b.bounds[slots] /= 4
		wait = jitter(p.first)
	default:
		wait = b.untilSlot(now, b.double(slots)/b.slot)
	}
	if up > 0 && mqtt.IsReset(err) {
		wait += b.spend(up + wait)
	}
	return wait, false
}

// double doubles the limit of a pace and returns it.
func (b *backoff) double(p pace) time.Duration {
	b.bounds[p] = max(p.first, min(2*b.bounds[p], p.max))
	return b.bounds[p]
}

// jitter returns a random time up to a bound.
func jitter(bound time.Duration) time.Duration { return rand.N(bound) + 1 }

// slotTolerance is how much too early, by the wall clock, an attempt may have been made.
const slotTolerance = 10 * time.Millisecond

// untilSlot returns the time until our phase in one of the next slots, chosen at random
// among so many. Slots follow the wall clock, so agents are spread even if they notice at
// different times that the broker is gone. If their clocks differ they are spread at
// random. Longer waits are whole numbers of slots, so they do not change the spread.
func (b *backoff) untilSlot(now time.Time, among time.Duration) time.Duration {
	since := time.Duration(now.UnixNano() % int64(b.slot))
	wait := time.Duration(b.phase*float64(b.slot)) - since
	if wait <= slotTolerance {
		wait += b.slot
	}
	return wait + b.slot*rand.N(among)
}

// spend records the time of a cycle, and returns how much to add to it so that the average
// is at least shortCycle.
func (b *backoff) spend(cycle time.Duration) (longer time.Duration) {
	b.spare = min(b.spare+cycle-shortCycle, shortCycle)
	longer = max(0, -b.spare)
	b.spare += longer
	return longer
}

// isAlone reports whether only our own link was down: the broker could not be reached, or
// a session that had worked ended without a close or a reset from the other end.
func isAlone(err error, up time.Duration) bool {
	return !byBroker(err) && !mqtt.IsReset(err) && (up > 0 || mqtt.IsUnreachable(err))
}

// byBroker reports whether the broker ended the connection, or violated the protocol so
// that we did.
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
