package uplink

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// arrivals notes when things were acknowledged: the backlog is empty of alarms.
func (b *broker) arrived(topic string, seq uint64) bool { return slices.Contains(b.seqs(topic), seq) }

// TestAnAlarmOvertakesTheBacklogOnASlowLink: 20 kbit/s, a round trip of 600 ms
// and up to 20 more, and more readings and states than it carries. An alarm is acknowledged within a
// round trip and 300 ms, and the link is never idle for want of messages.
func TestAnAlarmOvertakesTheBacklogOnASlowLink(t *testing.T) {
	const rate, noise = 20_000.0 / 8, 20 * time.Millisecond
	var waits []time.Duration
	var used float64
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.rate, br.noise = rate, noise })
		for seq := range uint64(8000) {
			bl.put(reading("room", seq+1))
		}
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for seq := uint64(1); ; seq++ {
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
					l.Observe(reading("room", seq))
				}
			}
		}()
		time.Sleep(20 * time.Second)
		began, before := time.Now(), 0
		br.set(func() { before = br.carried })
		for seq := range uint64(100) {
			time.Sleep(time.Duration(700+37*(seq%50)) * time.Millisecond)
			put := time.Now()
			bl.put(alarmOf("door", seq+1))
			for !br.arrived("porch/door", seq+1) {
				time.Sleep(5 * time.Millisecond)
			}
			waits = append(waits, time.Since(put))
		}
		br.set(func() { used = float64(br.carried-before) / (rate * time.Since(began).Seconds()) })
	})
	slices.Sort(waits)
	t.Logf("alarms: median %v, p99 %v, worst %v; the link is used %.0f %%", waits[50], waits[98], waits[99], 100*used)
	if waits[98] > 900*time.Millisecond+noise {
		t.Errorf("p99 of alarms is %v, want a round trip and 300 ms", waits[98])
	}
	if used < 0.9 {
		t.Errorf("the link is used %.0f %%, want 90", 100*used)
	}
}

// TestTheWindowFollowsTheLink: it becomes faster, slower, and longer. What an
// alarm waits for besides its own round trip stays below 250 ms or three messages.
func TestTheWindowFollowsTheLink(t *testing.T) {
	const noise = 40 * time.Millisecond
	up(t, func(l *Link, br *broker, bl *backlog) {
		for seq, c := range []struct {
			rate float64 // bytes a second
			way  time.Duration
		}{{2500, -250 * time.Millisecond}, {2500, 0}, {1000, 0}, {4000, 0}, {1200, 0}, {2000, 150 * time.Millisecond},
			{2500, 0}, {4000, 0}} {
			for n := range uint64(3600) {
				bl.put(reading("room", 3600*uint64(seq)+n+1))
			}
			br.set(func() { br.rate, br.way, br.noise = c.rate, c.way, noise })
			time.Sleep(time.Minute)
			before := 0
			br.set(func() { before = br.carried })
			time.Sleep(time.Minute)
			br.set(func() {
				// a probe costs the slowest link most
				if used := float64(br.carried-before) / c.rate / 60; used < 0.85 {
					t.Errorf("%v bytes/s, %v longer: the link is used %.0f %%", c.rate, c.way, 100*used)
				}
			})
			put := time.Now()
			bl.put(alarmOf("door", uint64(seq+1)))
			for !br.arrived("porch/door", uint64(seq+1)) {
				time.Sleep(5 * time.Millisecond)
			}
			carry := func(bytes float64) time.Duration { return time.Duration(bytes / c.rate * float64(time.Second)) }
			own := 600*time.Millisecond + 2*c.way + carry(170+headers) + carry(4+headers) + noise
			most := own + max(250*time.Millisecond, carry(3*170))
			if wait := time.Since(put); wait > most {
				t.Errorf("%v bytes/s, %v longer: an alarm takes %v, want %v", c.rate, c.way, wait, most)
			}
		}
	})
}

func alarmOf(stream string, seq uint64) sensors.Reading {
	r := reading(stream, seq)
	r.Priority, r.State = sensors.Alarm, "open"
	return r
}

// TestAWindowThatMessagesLimitShrinks: with small messages their number is the
// limit, not the bytes. When the link becomes slower, the bytes take over.
func TestAWindowThatMessagesLimitShrinks(t *testing.T) {
	const bytes, used = 158, 19 * 158
	for trip, shrinks := range map[time.Duration]bool{1320 * time.Millisecond: false, 2500 * time.Millisecond: true} {
		w := window{max: 20, lastSize: bytes, size: 3400, used: used, full: true, shortest: 1300 * time.Millisecond,
			trip: trip}
		w.adjust()
		if got := w.size < used; got != shrinks {
			t.Errorf("round trips of %v: %d bytes may be in flight after %d were, want less: %v", trip, w.size, used,
				shrinks)
		}
	}
}
