package main

import (
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/uplink"
)

// modem is a slow link with a long delay: 20 kbit/s, 600 ms round trip.
func modem(target string, tap func() cable.Tap) (*link.Link, error) {
	return link.New(target, tap, link.Shape{Rate: 20_000, Delay: 300 * time.Millisecond, Buffer: 16 << 10})
}

// TestSlowLinkThatIsCutLosesNothing: for half a minute the link is cut every 5 s on
// average, in the middle of a message. build/bench/shaped does this for longer.
func TestSlowLinkThatIsCutLosesNothing(t *testing.T) {
	takesLong(t)
	t.Parallel()
	w := wireOver(t, startMosquitto(t, ""), newWiretap(0), modem, `
  load: {kind: simulated, counter: {}, every: 500ms}
  gate: {kind: simulated, steps: {states: [closed, open], every: 1700ms}, alarm: true}
`)
	w.agent.retrySoon()
	w.agent.start()
	w.more(t, "load", 10)
	cuts := 0
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		time.Sleep(time.Duration(rand.ExpFloat64() * float64(5*time.Second)))
		if w.cable.CutAfter(rand.IntN(400)) {
			cuts++
		}
	}
	w.live(t, "load")
	w.live(t, "gate")
	w.agent.stop()

	w.checkComplete(t, "load")
	w.checkComplete(t, "gate")
	worst := w.twiceInASession()
	t.Logf("%d cuts; after the worst %d readings came twice", cuts, worst)
	if worst > uplink.DefaultWindow {
		t.Errorf("%d readings came twice in one session, a window has %d", worst, uplink.DefaultWindow)
	}
}

// twiceInASession is the maximum of duplicates in one session.
func (w *wired) twiceInASession() (worst int) {
	_, sessions := w.tap.snapshot()
	seen, twice := map[key]bool{}, map[int]int{}
	for _, stream := range []string{"load", "gate"} {
		for _, a := range w.sub.on("store/" + stream) {
			if seen[a.key()] {
				session := sort.Search(len(sessions), func(i int) bool { return sessions[i].After(a.at) })
				twice[session]++
				worst = max(worst, twice[session])
			}
			seen[a.key()] = true
		}
	}
	return worst
}
