package uplink

import "time"

const (
	// DefaultWindow is how many messages may be in flight at most, unless
	// Options say otherwise: EMQX loses messages for slow subscribers beyond it.
	DefaultWindow = 20

	// slack is how much more may be in flight than the link carries in its
	// shortest round trip. It is how long an alarm may wait behind the backlog,
	// so it stays well below 250 ms.
	slack = 80 * time.Millisecond

	firstWindow = 512              // bytes, while nothing is known about the link
	probeAfter  = 30 * time.Second // without a round trip as short as the shortest
	probes      = 3                // round trips that tell the shortest anew

	// overhead is what a message costs on the wire besides topic and payload:
	// its MQTT header and, on a slow link, a TCP packet of its own.
	overhead = 46
)

// A window says how much may be in flight: what the link carries in its
// shortest round trip and a little more, so that the link is never idle and
// nothing waits long in the buffers of the kernel and of the network, where an
// alarm cannot overtake it. It learns the link from the acknowledgements.
//
// It starts small and doubles with each round trip until round trips get
// longer. Now and then it lets the buffers run empty, to see whether the
// shortest round trip is still true.
type window struct {
	most int // messages

	messages  int // in flight
	bytes     int
	usual     int       // bytes of a message: of the last one
	delivered int       // bytes
	last      time.Time // when something was delivered, or sent after idleness
	hungry    int       // until this much is delivered, the link carries more than it was given

	rate     peak // bytes a second
	shortest time.Duration
	renewed  time.Time // when the shortest was last seen
	grown    bool      // round trips got longer: the link is full
	probing  bool
	probed   int
	probe    time.Duration // the shortest of the probes
}

// A passage is one message's way through the window.
type passage struct {
	bytes     int
	sent      time.Time
	delivered int       // before it was sent
	since     time.Time // of the delivery before it was sent
	hungry    bool      // the link had nothing else to do
	probe     bool
}

// open says that a message may be sent. One place is kept for an alarm.
func (w *window) open() bool {
	return w.messages < max(w.most-1, 1) && (w.bytes == 0 || w.bytes+w.usual <= w.limit())
}

// openToAlarm says that an alarm may be sent: it does not wait until the link
// has carried what is in flight.
func (w *window) openToAlarm() bool {
	return w.messages < w.most && (w.bytes == 0 || w.bytes < 2*w.limit())
}

// limit is how many bytes may be in flight.
func (w *window) limit() int {
	if w.shortest == 0 {
		return firstWindow
	}
	pipe := w.rate.highest() * w.shortest.Seconds()
	switch {
	case w.probing:
		return int(0.9 * pipe)
	case !w.grown:
		return max(firstWindow, int(2*pipe+w.rate.highest()*slack.Seconds()))
	}
	return int(pipe + w.rate.highest()*slack.Seconds())
}

// send notes that a message is on its way.
func (w *window) send(bytes int) passage {
	now := time.Now()
	if w.messages == 0 {
		w.last = now
	}
	w.messages++
	w.bytes += bytes
	w.usual = bytes
	w.probing = w.probing || w.shortest != 0 && now.Sub(w.renewed) > probeAfter
	return passage{bytes: bytes, sent: now, delivered: w.delivered, since: w.last,
		hungry: w.hungry > w.delivered, probe: w.probing && w.bytes-bytes <= w.limit()}
}

// starve notes that there is nothing to send.
func (w *window) starve() { w.hungry = w.delivered + w.bytes }

// acked learns from an acknowledgement.
func (w *window) acked(p passage) {
	now := time.Now()
	w.gone(p)
	w.delivered += p.bytes
	w.last = now
	trip := now.Sub(p.sent)
	w.time(trip, p.probe, now)
	if trip > w.shortest+slack/2 {
		w.grown = true
	}
	if took := now.Sub(p.since); took > 0 {
		w.rate.see(float64(w.delivered-p.delivered)/took.Seconds(), p.hungry, now, w.shortest)
	}
}

// gone notes that a message is not in flight any more.
func (w *window) gone(p passage) {
	w.messages--
	w.bytes -= p.bytes
}

// time takes note of a round trip.
func (w *window) time(trip time.Duration, probe bool, now time.Time) {
	trip = max(trip, time.Microsecond)
	if w.shortest == 0 || trip <= w.shortest {
		w.shortest, w.renewed = trip, now
		w.probing, w.probed = false, 0
		return
	}
	if !probe || !w.probing {
		return
	}
	if w.probed == 0 || trip < w.probe {
		w.probe = trip
	}
	if w.probed++; w.probed >= probes {
		w.shortest, w.renewed = w.probe, now
		w.probing, w.probed = false, 0
	}
}

// A peak is the highest rate of the last ten round trips or so.
type peak struct {
	now, before float64
	since       time.Time
}

func (p *peak) highest() float64 { return max(p.now, p.before) }

// see takes note of a rate. One of a hungry link counts only if it is higher.
func (p *peak) see(rate float64, hungry bool, now time.Time, trip time.Duration) {
	if hungry && rate <= p.highest() {
		return
	}
	if now.Sub(p.since) > max(5*trip, time.Second) {
		p.before, p.now, p.since = p.now, 0, now
	}
	p.now = max(p.now, rate)
}
