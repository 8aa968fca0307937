package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const (
	probeEvery  = 45 * time.Second // between two probes while all streams are proven; a probe costs about 140 bytes
	probeTurn   = 10 * time.Second // added to probeEvery for a stream that was already probed in this round
	maxProofAge = time.Hour        // of a stream's last proof: after it, the next reading is a probe in any case
	echoWait    = 5 * time.Second  // from the acknowledgement of a probe: its echo comes with it
)

// proofs records for which streams the readings are known to arrive. MQTT 3.1.1 has
// no answer for "you may not publish this": a broker acknowledges a message that its
// access list denies, and drops it. Access lists work by topic, and may change during a
// session. So the first reading of each stream in a session is a probe: it has to come
// back to us before any acknowledgement of its stream counts as delivery. After that, one
// probe a minute is enough: the streams take turns.
//
// All fields belong to the goroutine of the session. They outlive a session, because
// readings acknowledged in it may turn out later not to have arrived.
type proofs struct {
	session int                     // counts the sessions
	last    time.Time               // when the last probe was sent, but for trials of held streams
	streams map[string]*streamProof // the empty name is that of events
	probing map[string]*streamProof // the streams with a probe in flight
	round   int                     // number of the round in which each stream is probed once; starts at 1

	recent     *streamProof // of recentName: a cache, because the session asks several times for each reading
	recentName string

	echoesInOrder  bool // an echo came although we unsubscribed right after the message
	keepSubscribed bool // this broker forwards nothing after an UNSUBSCRIBE: unsubscribe only after the echo

	// By stream: sessions that the broker ended while the subscription of its probe had
	// no answer, since its last echo. The echo of another stream says nothing about it.
	closes   map[string]int
	offUntil time.Time // no probes are sent until then
}

// A streamProof is the state of the proof for one stream.
type streamProof struct {
	session  int         // the last session in which a reading came back; 0: none, or the proof is in doubt
	at       time.Time   // when that reading was sent
	probe    *probe      // nil: there is none
	round    int         // in which it was probed last
	doubted  bool        // the broker has dropped a probe of another stream since that reading
	unproven []queue.Gap // what was acknowledged, and removed from the backlog, since that reading
	acked    bool        // the broker has ever acknowledged a reading
}

// A probe is a reading that the broker is expected to send back to us.
type probe struct {
	item       queue.Item
	message    mqtt.Message
	heard      <-chan struct{} // closed when it came back
	subscribed mqtt.Token      // to its topic
	sent       time.Time
	acked      time.Time // zero: not yet
	lasting    bool      // the topic stays subscribed until the probe is heard or given up
	repeated   bool      // if it does not come back, it is not sent again
	second     bool      // this is the second copy: the first did not come back
	waited     bool      // the topic stayed subscribed for the first copy
}

func newProofs() proofs {
	return proofs{streams: map[string]*streamProof{}, probing: map[string]*streamProof{}, round: 1,
		closes: map[string]int{}}
}

// begin starts a session: no probe is in flight, and no stream is proven.
func (p *proofs) begin() {
	p.session++
	p.forgetProbes()
}

// forgetProbes discards the probes in flight, without a conclusion about their streams.
func (p *proofs) forgetProbes() {
	for _, st := range p.probing {
		st.probe = nil
	}
	clear(p.probing)
}

func (p *proofs) of(stream string) *streamProof {
	if p.recent != nil && p.recentName == stream {
		return p.recent
	}
	st := p.streams[stream]
	if st == nil {
		st = &streamProof{}
		p.streams[stream] = st
	}
	p.recent, p.recentName = st, stream
	return st
}

// due reports whether the next reading of a stream has to be a probe.
func (p *proofs) due(stream string, now time.Time) bool {
	st := p.of(stream)
	switch idle := now.Sub(p.last); {
	case st.probe != nil:
		return false
	case st.session != p.session:
		return true
	case now.Sub(st.at) > max(maxProofAge, time.Duration(len(p.streams))*2*time.Minute):
		return true
	case idle < probeEvery:
		return false
	case st.round == p.round && idle < probeEvery+probeTurn:
		return false // it is another's turn
	case st.round == p.round:
		p.round++
	}
	return true
}

// sent records that a probe is in flight. The trial of a held stream, once a minute, must not
// put off the probes of the others, so it does not count for last.
func (p *proofs) sent(stream string, pr *probe, trial bool) {
	pr.sent = time.Now()
	if !trial {
		p.last = pr.sent
	}
	st := p.of(stream)
	st.round = p.round
	st.probe, p.probing[stream] = pr, st
}

// end removes the probe of a stream.
func (p *proofs) end(stream string) {
	p.of(stream).probe = nil
	delete(p.probing, stream)
}

// unheard returns the probes that the broker has acknowledged within closedAfter and not
// sent back: Mosquitto 2.0.11 acknowledges what its access list denies, and closes
// the connection for it.
func (p *proofs) unheard() (all []*probe) {
	for _, st := range p.probing {
		pr := st.probe
		if pr.acked.IsZero() || time.Since(pr.acked) > closedAfter {
			continue
		}
		select {
		case <-pr.heard:
		default:
			all = append(all, pr)
		}
	}
	return all
}

// proven reports whether an acknowledged reading of the stream has arrived.
func (p *proofs) proven(stream string) bool {
	st := p.of(stream)
	return st.probe == nil && st.session == p.session
}

// nextCheck returns when a missing echo has a consequence: the probe is repeated, or the
// stream is denied. proof is the limit for a repeated probe. Zero: it is not acknowledged yet.
func (pr *probe) nextCheck(proof time.Duration) time.Time {
	switch {
	case pr.acked.IsZero():
		return time.Time{}
	case pr.repeated:
		return pr.acked.Add(proof)
	}
	return pr.acked.Add(echoWait)
}

// note records a reading that is removed from the backlog, so that it can be declared as
// missing if the next probe does not come back.
func (st *streamProof) note(it *queue.Item) {
	st.acked = true
	if it.Event != "" {
		return // events are not numbered by stream: a gap cannot declare one
	}
	if n := len(st.unproven); n > 0 {
		if last := &st.unproven[n-1]; last.Boot == it.Boot {
			if it.Seq > last.To { // else it came twice
				last.To = it.Seq
				last.Count++
			}
			return
		}
	}
	st.unproven = append(st.unproven, queue.Gap{Stream: it.Stream, Boot: it.Boot, From: it.Seq, To: it.Seq, Count: 1,
		Why: queue.Unproven})
}
