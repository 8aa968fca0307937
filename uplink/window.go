package uplink

import "time"

const (
	// DefaultWindow is how many messages may be in flight, unless Options say
	// otherwise or a quick link asks for more: EMQX loses messages for slow
	// subscribers beyond it.
	DefaultWindow = 20

	// maxQuickWindow is how many may be in flight on a quick link, where the pace
	// needs it.
	maxQuickWindow = 128

	// quickSlack is how much longer than the shortest a round trip may be while the
	// number of messages grows: a broker that queues answers later.
	quickSlack = 5 * time.Millisecond

	// slack is how much longer than the shortest a round trip may be, because
	// more is in flight than the link carries in it. It is how long an alarm
	// waits behind the backlog, so it stays well below 250 ms.
	slack = 45 * time.Millisecond

	firstWindow = 512              // bytes, while nothing is known about the link
	probeAfter  = 30 * time.Second // without a round trip that met no other message, and was as short as the shortest
	probes      = 3                // so many of them measure the shortest round trip again
	probeDoubt  = 5 * time.Second  // until the next, after they measured a much longer one: it may have been a stall

	// overhead is what a message costs on the wire besides topic and payload:
	// its MQTT header and, on a slow link, a TCP packet of its own.
	overhead = 56

	sendRatio = 1.15                 // the rate of sending, as a multiple of the rate of the link
	minGap    = 2 * time.Millisecond // between messages; shorter gaps are ignored
)

// A window limits how much may be in flight: as much as the link carries in its shortest round
// trip and a little more. So the link is never idle, and nothing waits long in the buffers of
// the kernel and the network, where an alarm cannot overtake it. It measures the link by the
// acknowledgements.
//
// It starts small and doubles until round trips get longer. From then on its
// size is what makes them longer by slack: half as much, if they are twice as
// long as that. Each size is given a round trip to show what it does, and then
// the shortest of some round trips counts: acknowledgements come in bunches.
//
// The number of messages is bounded, too. On a quick link, where bytes are not what
// limits it, the number doubles while the broker answers at the pace of the round
// trip, and is halved when it does not; but only as far as the pace of the drain
// needs it.
//
// Now and then it lets the buffers run empty, to see whether the shortest round
// trip is still true.
type window struct {
	max     int            // messages
	ceiling int            // of max; 0: max does not grow
	pace    func() float64 // of the drain, readings a second; 0: as fast as the link takes them
	reached bool           // max was the limit since the size was set

	messages int // in flight
	bytes    int
	lastSize int // bytes of a message: of the last one

	size       int           // bytes that may be in flight; 0: firstWindow
	full       bool          // round trips got longer once
	used       int           // the most that was in flight since the size was set
	next       time.Time     // no message is sent before this time, except alarms
	turn       int           // counts the sizes, twice: odd while round trips are measured
	ackedBytes int           // bytes acknowledged while they are
	trip       time.Duration // the shortest of these

	shortest time.Duration
	renewed  time.Time // when the shortest was last seen
	probing  bool      // few are in flight, to see what is the shortest now
	probed   int
	probe    time.Duration // the shortest of the probes
}

// A slot is the place of one message in the window, from send to acked.
type slot struct {
	bytes int
	sent  time.Time
	turn  int
	probe bool
}

// open reports whether a message may be sent. One place is reserved for an alarm.
func (w *window) open() bool {
	return w.messages < max(w.max-1, 1) && (w.bytes == 0 || w.bytes+w.lastSize <= w.limit()) && w.gapOver()
}

// openToAlarm reports whether an alarm may be sent: it may use twice the bytes, so that it
// need not wait for the messages in flight.
func (w *window) openToAlarm() bool {
	return w.messages < w.max && (w.bytes == 0 || w.bytes < 2*w.limit())
}

// gapOver reports whether the gap after the previous message is over. Messages that are sent
// together stay together: they share a TCP packet, so their acknowledgements come together,
// and so do the messages that are sent after these. Each would wait for all others.
func (w *window) gapOver() bool { return w.next.IsZero() || !time.Now().Before(w.next) }

// gap returns the time between a message of so many bytes and the next one. While the window
// grows, messages are sent twice as fast as they are acknowledged.
func (w *window) gap(bytes int) time.Duration {
	trip, faster := w.shortest+slack, sendRatio
	if !w.full {
		trip, faster = w.shortest, 2
	}
	return time.Duration(float64(trip) * float64(bytes) / float64(max(w.size, firstWindow)) / faster)
}

// limit returns how many bytes may be in flight.
func (w *window) limit() int {
	size := max(w.size, w.lastSize)
	if w.size == 0 {
		size = firstWindow
	}
	if w.probing {
		return w.empty(size)
	}
	return size
}

// empty returns how few bytes may be in flight so that no message waits for another one, even
// if the shortest round trip has become longer since it was measured.
func (w *window) empty(size int) int {
	return int(float64(size) * min(0.5, 0.9*float64(w.shortest)/float64(w.shortest+slack)))
}

// send records a message of so many bytes as in flight.
func (w *window) send(bytes int, now time.Time) slot {
	w.messages++
	w.bytes += bytes
	w.lastSize = bytes
	w.used = max(w.used, w.bytes)
	w.reached = w.reached || w.messages >= w.max-1
	w.next = time.Time{}
	if gap := w.gap(bytes); gap >= minGap {
		w.next = now.Add(gap)
	}
	w.probing = w.probing || w.shortest != 0 && now.Sub(w.renewed) > probeAfter
	return slot{bytes: bytes, sent: now, turn: w.turn, probe: w.bytes-bytes <= w.empty(w.size)}
}

// acked frees the slot of an acknowledged message, and measures its round trip.
func (w *window) acked(p slot, now time.Time) {
	w.gone(p)
	trip := max(now.Sub(p.sent), time.Microsecond)
	w.noteTrip(trip, p.probe, now)
	switch measured := w.turn%2 == 1; {
	case p.turn != w.turn || w.probing:
	case !measured:
		w.turn, w.ackedBytes, w.trip = w.turn+1, 0, 0
	default:
		if w.ackedBytes += p.bytes; w.trip == 0 || trip < w.trip {
			w.trip = trip
		}
		if w.ackedBytes >= w.limit()/2 {
			w.adjust()
		}
	}
}

// gone frees the slot of a message without measuring it.
func (w *window) gone(p slot) {
	w.messages--
	w.bytes -= p.bytes
}

// adjust sets the size that makes round trips as long as they may be.
func (w *window) adjust() {
	now, goal := w.limit(), w.shortest+slack
	used := min(w.used, now)
	next := int(float64(used) * float64(goal) / float64(w.trip))
	switch idle := w.trip < w.shortest+slack/2; {
	case used+w.lastSize < now && w.trip <= goal: // there was no more to send
		next = max(next, now)
	case used+w.lastSize < now: // the number of messages is the limit, and already too high
		next = int(float64(now) * float64(goal) / float64(w.trip))
	case idle && !w.full:
		next = 2 * now
	case idle:
		next = max(next, now+w.lastSize)
	default:
		w.full = true
	}
	w.size = min(max(next, now/2), 2*now)
	w.adjustMessages()
	w.turn, w.used, w.reached = w.turn+1, w.bytes, false
}

// adjustMessages sets how many messages may be in flight.
func (w *window) adjustMessages() {
	switch longer := w.trip - w.shortest; {
	case longer > 2*quickSlack && w.max > DefaultWindow:
		w.max = max(w.max/2, DefaultWindow)
	case longer <= quickSlack && w.reached && w.max < w.ceiling && w.paceNeedsMore():
		w.max = min(2*w.max, w.ceiling)
	}
}

// paceNeedsMore reports whether the pace of the drain needs more than max messages in a round
// trip.
func (w *window) paceNeedsMore() bool {
	perSecond := w.pace()
	return perSecond == 0 || perSecond*w.trip.Seconds() > float64(w.max)
}

// noteTrip records a round trip; probe says that no other message could delay it.
func (w *window) noteTrip(trip time.Duration, probe bool, now time.Time) {
	if w.shortest == 0 || trip <= w.shortest {
		w.shortest = trip
	}
	switch {
	case w.renewed.IsZero():
		w.renewed = now
	case probe && trip <= w.shortest+slack/8:
		w.renewed, w.probed = now, 0
		if w.probing {
			w.refill()
		}
		return
	}
	if !probe {
		return
	}
	if w.probed == 0 || trip < w.probe {
		w.probe = trip
	}
	if w.probed++; w.probed >= probes {
		w.renewed = now
		if w.probe > w.shortest+slack {
			w.renewed = now.Add(probeDoubt - probeAfter)
		}
		w.shortest = w.probe
		w.refill()
	}
}

// refill ends a probe. What the size does, the buffers show when they are full
// again.
func (w *window) refill() {
	w.probing, w.probed = false, 0
	w.turn += 2 - w.turn%2
}
