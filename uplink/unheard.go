package uplink

import (
	"maps"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// unheardEvery is the least time between two events that a stream is unheard, so that a
// subscriber that often reconnects does not fill the queue with them.
const unheardEvery = 10 * time.Minute

// unheard counts the items that the broker acknowledged although their topics have no
// subscriber. They count as delivered: with MQTT 3.1.1 the broker would drop them, too, and
// not report it. The goroutine of the session owns it; it lives longer than a session.
type unheard struct {
	// mu guards counts against other goroutines, which only read: the owner reads without it.
	mu     sync.Mutex
	counts map[string]uint64    // by stream, since its last item with a subscriber; "" is the name of events
	told   map[string]time.Time // by stream, when an event last reported it as unheard
	open   map[string]bool      // by stream: the last event reported it as unheard
}

// noteUnheard records an item that the broker acknowledged.
func (l *Link) noteUnheard(stream string, t mqtt.Token) {
	u := &l.unheard
	if !mqtt.Unheard(t) {
		if len(u.counts) > 0 {
			l.noteHeard(stream)
		}
		return
	}
	if u.told == nil {
		u.told, u.open = map[string]time.Time{}, map[string]bool{}
	}
	u.add(stream)
	if now := time.Now(); !u.open[stream] && now.Sub(u.told[stream]) >= unheardEvery {
		u.told[stream], u.open[stream] = now, true
		l.log.Warn("a stream has no subscriber at the broker", "stream", streamName(stream), "topic",
			l.topics.History(stream))
		l.report("unheard", map[string]any{"stream": streamName(stream), "began": true})
	}
}

// noteHeard records that a stream has a subscriber.
func (l *Link) noteHeard(stream string) {
	u := &l.unheard
	count, was := u.counts[stream]
	if !was {
		return
	}
	u.mu.Lock()
	delete(u.counts, stream)
	u.mu.Unlock()
	if u.open[stream] {
		u.open[stream] = false
		l.log.Info("a stream has a subscriber again", "stream", streamName(stream), "unheard", count)
		l.report("unheard", map[string]any{"stream": streamName(stream), "began": false, "count": count})
	}
}

// forgetUnheard clears the counts when a session with MQTT 3.1.1 follows one with MQTT 5,
// because the broker does not report missing subscribers any more.
func (l *Link) forgetUnheard() {
	u := &l.unheard
	for stream, count := range u.counts {
		if !u.open[stream] {
			continue
		}
		l.log.Info("it is not known any more whether a stream has a subscriber: MQTT 3.1.1 does not report it", "stream",
			streamName(stream), "unheard", count)
		l.report("unheard", map[string]any{"stream": streamName(stream), "began": false, "count": count,
			"why": "MQTT 3.1.1 does not tell"})
	}
	clear(u.open)
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.counts)
}

// add counts one item.
func (u *unheard) add(stream string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counts == nil {
		u.counts = map[string]uint64{}
	}
	u.counts[stream]++
}

// Unheard returns the number of items of each stream without a subscriber, since the last one
// with a subscriber; events are under agent/event. It is empty if the broker does not report
// that. It may be called from any goroutine.
func (l *Link) Unheard() map[string]uint64 { return l.unheard.byName() }

// byName returns the counts by the displayed name of the stream, for health.
func (u *unheard) byName() map[string]uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := maps.Clone(u.counts)
	if n, events := all[""]; events {
		delete(all, "")
		all[streamName("")] = n
	}
	return all
}

// streamName is the name of a stream for a person; that of events is empty in an item.
func streamName(stream string) string {
	if stream == "" {
		return "agent/event"
	}
	return stream
}
