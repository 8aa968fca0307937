package uplink

import (
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// TestOtherStreamsAreSentWhileReadingsAreKept: what is kept of a stream may take hours.
func TestOtherStreamsAreSentWhileReadingsAreKept(t *testing.T) {
	var d drip
	up(t, func(l *Link, br *broker, bl *backlog) {
		hall := uint64(0)
		both := func(secs int) {
			for range secs {
				d.run(l, bl, 1)
				hall++
				bl.put(reading("hall", hall))
			}
		}
		br.set(func() { br.drops = on("porch/room") })
		both(300)
		br.set(func() { br.drops = nil })
		both(90)
		if kept := bl.Stats().Rejected; kept == 0 {
			t.Error("nothing is kept any more")
		}
		if n := uint64(len(br.seqs("porch/hall"))); n+5 < hall {
			t.Errorf("%d of %d arrived beside what is kept", n, hall)
		}
		both(300)
		time.Sleep(5 * time.Second)
		inOrder(t, br, "porch/room", d.room)
		inOrder(t, br, "porch/hall", hall)
	}, func(o *Options) { o.Drain.Rate = 12 })
}

// TestRetriedReadingWaitsForItsEcho: a broker that closed the connection for a
// stream acknowledges and drops it now.
func TestRetriedReadingWaitsForItsEcho(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = on("porch/room") })
		fifty(bl)
		time.Sleep(time.Hour)
		var tried []time.Time
		br.set(func() {
			br.closesFor = nil
			br.drops = func(m mqtt.Message) bool {
				if m.Topic == "porch/room" {
					tried = append(tried, time.Now())
				}
				return m.Topic == "porch/room"
			}
		})
		time.Sleep(24 * time.Hour)
		br.set(func() {
			if len(tried) < 2 || tried[1].Sub(tried[0]) < 10*time.Second {
				t.Errorf("they went at %v", tried[:min(len(tried), 3)])
			}
			br.drops = nil
		})
		time.Sleep(2 * time.Minute)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		inOrder(t, br, "porch/room", 50)
	})
}

// TestABrokerThatClosesForAllOfAStream, for its subscription and for its readings,
// costs the others little.
func TestABrokerThatClosesForAllOfAStream(t *testing.T) {
	t.Run("unanswered", func(t *testing.T) {
		closesForRoom(t, func(br *broker) {
			br.closesForTopic = func(topic string) bool { return topic == "porch/room" }
		})
	})
	t.Run("acknowledged", func(t *testing.T) { closesForRoom(t, func(br *broker) { br.acksFirst = true }) })
}

func closesForRoom(t *testing.T, how func(*broker)) {
	var d drip
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.closesFor = on("porch/room")
			how(br)
		})
		d.run(l, bl, 120)
		time.Sleep(time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d left", n)
		}
		inOrder(t, br, "porch/door", d.door)
		conns := br.connections()
		if conns > 20 {
			t.Errorf("%d connections", conns)
		}
		time.Sleep(72 * time.Hour)
		if more := br.connections() - conns; more > 60 {
			t.Errorf("%d more connections in three days", more)
		}
	})
	if t.Failed() {
		t.Log(log)
	}
}
