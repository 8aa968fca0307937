package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const (
	probeEvery  = 45 * time.Second // between two probes while all streams are proven: one costs some 140 bytes
	probeTurn   = 10 * time.Second // longer, for a stream that was probed in this round already
	maxProofAge = time.Hour        // of a stream's last proof: its next reading is a probe, whatever the others cost
	echoWait    = 5 * time.Second  // from the acknowledgement of a probe: its echo comes with it
)

// proofs say of which streams the readings are known to arrive. MQTT 3.1.1 has
// no answer for "you may not publish this": a broker acknowledges what its
// access list denies, and drops it. Access lists go by topic, and change while a
// session lasts. So the first reading of each stream in a session is a probe: it
// has to come back to us, before anything of its stream that the broker
// acknowledges is taken for delivered. Later one probe a minute is enough: the
// streams take turns.
//
// All fields belong to the goroutine of the session. They outlive a session,
// because what was acknowledged in it may turn out not to have arrived.
type proofs struct {
	session int                     // counts the sessions
	last    time.Time               // when the last probe was sent
	streams map[string]*streamProof // the empty name is that of events
	probing map[string]*streamProof // of these, those with a probe on its way
	round   int                     // of turns, from 1 on

	recent     *streamProof // of recentName, which was asked for last: a drain asks several times a reading
	recentName string

	echoesInOrder  bool // an echo came although we had unsubscribed right behind the message
	keepSubscribed bool // this broker forwards nothing behind an UNSUBSCRIBE: it waits for the echo

	// By stream: sessions that the broker ended while the subscription of its probe had
	// no answer, since its last echo. The echo of another stream says nothing about it.
	closes   map[string]int
	offUntil time.Time // nothing is proven until then
}

// A streamProof is what is known of one stream.
type streamProof struct {
	session  int         // in which a reading came back last; 0: none did, or it is in doubt
	at       time.Time   // when that reading was sent
	probe    *probe      // nil: there is none
	round    int         // in which it was probed last
	doubted  bool        // the broker has dropped a probe of another stream since that reading
	unproven []queue.Gap // what was acknowledged, and removed from the backlog, since that reading
	acked    bool        // the broker has ever acknowledged a reading
}

// A probe is a reading that is expected back.
type probe struct {
	item       queue.Item
	message    mqtt.Message
	heard      <-chan struct{} // closed when it came back
	subscribed mqtt.Token      // to its topic
	sent       time.Time
	acked      time.Time // zero: not yet
	lasting    bool      // the topic stays subscribed until the probe is heard or given up
	repeated   bool      // it is not sent once more
	second     bool      // nothing was heard of the first copy
	waited     bool      // the topic stayed subscribed for the first copy
}

func newProofs() proofs {
	return proofs{streams: map[string]*streamProof{}, probing: map[string]*streamProof{}, round: 1,
		closes: map[string]int{}}
}

// begin starts a session: what was on its way is not any more, and nothing is
// proven.
func (p *proofs) begin() {
	p.session++
	p.forgetProbes()
}

// forgetProbes gives up what is on its way. It says nothing about the streams.
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

// due says that the next reading of a stream is to be a probe.
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

// sent notes that a probe is on its way.
func (p *proofs) sent(stream string, pr *probe) {
	now := time.Now()
	pr.sent, p.last = now, now
	st := p.of(stream)
	st.round = p.round
	st.probe, p.probing[stream] = pr, st
}

// end takes the probe of a stream out.
func (p *proofs) end(stream string) {
	p.of(stream).probe = nil
	delete(p.probing, stream)
}

// unheard are the probes that the broker acknowledged a moment ago and has not
// forwarded: Mosquitto 2.0.11 acknowledges what its access list denies, and closes
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

// proven says that what the broker acknowledges of a stream has arrived.
func (p *proofs) proven(stream string) bool {
	st := p.of(stream)
	return st.probe == nil && st.session == p.session
}

// nextCheck is when the probe has to be looked at; zero: not before it is
// acknowledged, or sent again.
func (pr *probe) nextCheck(proof time.Duration) time.Time {
	switch {
	case pr.acked.IsZero():
		return time.Time{}
	case pr.repeated:
		return pr.acked.Add(proof)
	}
	return pr.acked.Add(echoWait)
}

// note takes note of a reading that is removed from the backlog.
func (st *streamProof) note(it *queue.Item) {
	st.acked = true
	if it.Event != "" {
		return // events are not counted by stream: no gap could tell of one
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
