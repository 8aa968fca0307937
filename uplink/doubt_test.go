package uplink

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// revoked denies some topics until a while after the first probe on one of them
// was dropped. The broker calls it with its mutex held.
func revoked(br *broker, after time.Duration, topics ...string) func(mqtt.Message) bool {
	var first time.Time
	return func(m mqtt.Message) bool {
		if !slices.Contains(topics, m.Topic) {
			return false
		}
		if first.IsZero() && br.conn.topics[m.Topic] {
			first = time.Now()
		}
		return first.IsZero() || time.Since(first) < after
	}
}

// TestReadingsDroppedBeforeARepeatedProbeAreDeclared: rights come back while the
// echo of a probe is awaited. What was sent behind the probe was dropped too.
func TestReadingsDroppedBeforeARepeatedProbeAreDeclared(t *testing.T) {
	for after, topics := range map[time.Duration][]string{
		3 * time.Second:  {"porch/room"},
		10 * time.Second: {"porch/room", "porch/hall"},
	} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			var d drip
			hall := uint64(0)
			br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
				more := func(secs int) {
					for range secs {
						d.run(l, bl, 1)
						if d.door%2 == 0 {
							hall++
							r := reading("hall", hall)
							l.Observe(r)
							bl.put(r)
						}
					}
				}
				more(30)
				br.set(func() { br.drops = revoked(br, after, topics...) })
				more(180)
				time.Sleep(5 * time.Second)
				if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
					t.Errorf("%d left, %d kept", left, kept)
				}
			})
			accounted(t, br, "room", d.room)
			accounted(t, br, "hall", hall)
			accounted(t, br, "door", d.door)
		})
	}
}

// TestKeptReadingsAreProbedWhileTheyAreSent: rights that are revoked again drop what
// was kept, and the broker acknowledges that too.
func TestKeptReadingsAreProbedWhileTheyAreSent(t *testing.T) {
	var d drip
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.drops = on("porch/room") })
		d.run(l, bl, 300)
		br.set(func() { br.drops = nil })
		d.run(l, bl, 90)
		br.set(func() { br.drops = on("porch/room") })
		d.run(l, bl, 200)
		br.set(func() { br.drops = nil })
		d.run(l, bl, 600)
		time.Sleep(5 * time.Minute)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
	}, func(o *Options) { o.Drain.Rate = 12 })
	_, declared := accounted(t, br, "room", d.room)
	if declared == 0 {
		t.Error("none lies in a gap")
	}
}

// TestKeptReadingsArriveInOrderAfterAllWasDenied: rights to everything are revoked
// while what is kept goes out. What was sent of it is sent again.
func TestKeptReadingsArriveInOrderAfterAllWasDenied(t *testing.T) {
	var d drip
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.drops = on("porch/room") })
		d.run(l, bl, 300)
		br.set(func() { br.drops = nil })
		d.run(l, bl, 90)
		br.set(func() { br.drops = func(mqtt.Message) bool { return true } })
		d.run(l, bl, 110)
		br.set(func() { br.drops = nil })
		d.run(l, bl, 600)
		time.Sleep(5 * time.Minute)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
	}, func(o *Options) { o.Drain.Rate = 12 })
	accounted(t, br, "room", d.room)
	newest := uint64(0)
	seen := map[uint64]bool{}
	for _, seq := range br.seqs("porch/room") {
		if !seen[seq] && seq < newest {
			t.Fatalf("%d came after %d", seq, newest)
		}
		seen[seq], newest = true, max(newest, seq)
	}
}
