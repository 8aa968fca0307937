package uplink

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// auto is the default pace, in a window that is wide enough for far more.
// The boot is that of the backlog, so that a reading can be a live one.
func auto(o *Options) { o.Drain, o.Boot = Drain{Rate: AutoRate, Window: 400}, "" }

// arrivedOn is how many messages arrived on a topic.
func (b *broker) arrivedOn(topic string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		if m.Topic == topic {
			n++
		}
	}
	return n
}

// old is a reading from before an outage.
func old(stream string, seq uint64) sensors.Reading {
	r := reading(stream, seq)
	r.At.Uptime -= time.Hour
	return r
}

func (b *backlog) putOld(from, to uint64) {
	for seq := from; seq <= to; seq++ {
		b.put(old("room", seq))
	}
}

// TestABacklogIsPacedByDefault: a subscriber that takes 250 messages a second
// and for whom the broker queues 1,000 gets all of it.
func TestABacklogIsPacedByDefault(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		bl.putOld(1, 5000)
		began, queued, most := time.Now(), 0.0, 0.0
		for seen := 0; seen < 5000 && time.Since(began) < time.Minute; {
			time.Sleep(20 * time.Millisecond)
			n := br.arrivedOn("porch/room")
			queued = max(0, queued+float64(n-seen)-5)
			most = max(most, queued)
			seen = n
		}
		took := time.Since(began)
		t.Logf("5,000 readings in %v, at most %.0f wait for the subscriber", took, most)
		if most > 600 {
			t.Errorf("%.0f messages wait for the subscriber, want 600 at most", most)
		}
		if took > 20*time.Second {
			t.Errorf("5,000 readings took %v, want 18 s", took)
		}
	}, auto)
}

// TestAFlappingLinkGetsNoBurstEachTime: the pace is that of the link and not of
// a session.
func TestAFlappingLinkGetsNoBurstEachTime(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		bl.putOld(1, 7000)
		for range 8 {
			time.Sleep(2 * time.Second)
			br.cut()
		}
		if n := br.arrivedOn("porch/room"); n < 1000 || n > 500+16*250 { // the waits between attempts are drawn
			t.Errorf("%d readings in 16 s", n)
		}
	}, auto)
}

// TestOnlyABacklogIsPaced: not alarms and states beside it, and not what is
// measured while there is none, however much that is.
func TestOnlyABacklogIsPaced(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		for seq := range uint64(3000) { // the meter does not count them
			r := reading("room", seq+1)
			r.At = l.opt.Clock.Now()
			bl.put(r)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond)
		if n := br.arrivedOn("porch/room"); n != 3000 {
			t.Errorf("%d of 3000 readings arrived as they were measured", n)
		}
		bl.putOld(3001, 7000)
		time.Sleep(time.Second)
		for seq := range uint64(700) {
			bl.put(alarmOf("door", seq+1))
		}
		l.Observe(reading("room", 7000))
		before := br.arrivedOn("porch/room/state")
		time.Sleep(time.Second)
		if n := br.arrivedOn("porch/door"); n != 700 {
			t.Errorf("%d of 700 alarms arrived within a second", n)
		}
		if n := br.arrivedOn("porch/room/state"); n != before+1 {
			t.Errorf("%d states arrived within a second, want 1", n-before)
		}
		if n := br.arrivedOn("porch/room"); n > 3000+500+2*250 {
			t.Errorf("%d readings arrived: the backlog is not paced", n)
		}
	}, auto)
}

// TestKeptReadingsAreThrottled: a stream that was refused has a backlog
// of its own.
func TestKeptReadingsAreThrottled(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.refuse = errors.New("away") })
		bl.putOld(1, 1200)
		c := queue.Cursor{}
		for {
			items, err := bl.Peek(&c, 500)
			if err != nil || len(items) == 0 {
				break
			}
			for _, it := range items {
				if err := bl.Reject(it, false); err != nil {
					t.Fatal(err)
				}
				c.Advance(it)
			}
		}
		br.set(func() { br.refuse = nil })
		time.Sleep(time.Minute + 3*time.Second)
		began := time.Now()
		for br.arrivedOn("porch/room") < 1200 && time.Since(began) < 2*time.Minute {
			before := br.arrivedOn("porch/room")
			time.Sleep(time.Second)
			if n := br.arrivedOn("porch/room") - before; n > 500+250 {
				t.Fatalf("%d readings in a second", n)
			}
		}
		if n := br.arrivedOn("porch/room"); n != 1200 {
			t.Errorf("%d of 1200 readings arrived", n)
		}
	}, auto)
}

// TestAutoRateIsTwiceTheProduction, or a backlog would never end.
func TestAutoRateIsTwiceTheProduction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newThrottle(AutoRate)
		m := &p.produced
		sent := func(from, to time.Duration, perSecond int) (n int) {
			for range (to - from) / time.Millisecond {
				for range perSecond / 1000 {
					m.add(time.Now(), 1)
				}
				for p.ready() {
					p.take()
					n++
				}
				time.Sleep(time.Millisecond)
			}
			return n
		}
		sent(0, time.Minute, 1000)
		if n := sent(0, 10*time.Second, 1000); n < 19_500 || n > 20_500 {
			t.Errorf("%d readings in 10 s while 1,000 a second are produced, want 20,000", n)
		}
		time.Sleep(time.Hour)
		if got := m.perSecond(time.Now()); got != 0 {
			t.Errorf("%v a second after an hour without any", got)
		}
		if n := sent(0, 10*time.Second, 0); n < 2950 || n > 3050 {
			t.Errorf("%d readings in 10 s while none is produced, want 500 and 2,500", n)
		}
	})
}

func TestMeterIgnoresTheBurstAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		for range 600 {
			m.add(time.Now(), 1) // each sensor once
		}
		if got := m.perSecond(time.Now()); got > 60 {
			t.Errorf("%v a second in the first moment", got)
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			m.add(time.Now(), 1)
			if got := m.perSecond(time.Now()); got > 70 || got < 9 {
				t.Fatalf("%v a second", got)
			}
		}
		time.Sleep(31 * time.Second)
		if got := m.perSecond(time.Now()); got > 20 {
			t.Errorf("%v a second half a minute after the last", got)
		}
	})
}

func TestBirthHasTheDrainRate(t *testing.T) {
	for rate, want := range map[int]string{
		AutoRate: `{"rate":"auto","per_second":250,"burst":500}`, 0: `{"rate":0}`, 50: `{"rate":50}`,
	} {
		var b struct{ Drain json.RawMessage }
		if err := json.Unmarshal(birthOf(Options{Drain: Drain{Rate: rate}}).json(), &b); err != nil ||
			string(b.Drain) != want {
			t.Errorf("rate %d: %s, %v; want %s", rate, b.Drain, err, want)
		}
	}
}
