package uplink

import (
	"testing"
	"time"
)

// TestOtherStreamsGoBesideWhatIsKept: what is kept of a stream may take hours.
func TestOtherStreamsGoBesideWhatIsKept(t *testing.T) {
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
		if kept := bl.Stats().Aside; kept == 0 {
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
