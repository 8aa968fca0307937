package uplink

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

func fifty(bl *backlog) {
	for seq := range uint64(50) {
		bl.put(reading("room", seq+1))
	}
}

// TestADeniedBacklogIsHeldUntilItMayGo: what an access list denies is
// acknowledged all the same.
func TestADeniedBacklogIsHeldUntilItMayGo(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.denies = true })
		fifty(bl)
		for seq := range uint64(3) {
			bl.put(alarmOf("door", seq+1))
		}
		for range 5 {
			time.Sleep(time.Minute)
			br.cut()
		}
		time.Sleep(time.Minute)
		if n := bl.left(); n != 53 {
			t.Fatalf("%d of 53 left while publishing is denied", n)
		}
		br.set(func() { br.denies = false })
		time.Sleep(2 * time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d left after it is allowed", n)
		}
	})
	if got := br.seqs("porch/room"); len(got) != 50 {
		t.Errorf("%d of 50 readings arrived", len(got))
	}
	if n := strings.Count(log, "level=ERROR"); n != 1 || !strings.Contains(log, "mqtt.prove_publish: false") ||
		!strings.Contains(log, "access list") {
		t.Errorf("want one error with both causes:\n%s", log)
	}
}

// TestAlarmsGoWhileTheBacklogIsHeld: an account that may write and not read.
func TestAlarmsGoWhileTheBacklogIsHeld(t *testing.T) {
	for name, c := range map[string]func(*broker){
		"subscription refused": func(br *broker) { br.unread = true },
		"nothing heard":        func(br *broker) { br.forwardsNothing = true },
	} {
		t.Run(name, func(t *testing.T) {
			br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
				br.set(func() { c(br) })
				fifty(bl)
				bl.put(alarmOf("door", 1))
				time.Sleep(90 * time.Second)
				if n := bl.left(); n != 51 {
					t.Errorf("%d of 51 left without proof", n)
				}
				var health struct{ Held string }
				json.Unmarshal([]byte(br.kept("porch/agent/health")), &health)
				if health.Held == "" {
					t.Errorf("health does not say that the backlog is held: %s", br.kept("porch/agent/health"))
				}
			})
			if got := br.seqs("porch/door"); len(got) == 0 {
				t.Error("the alarm did not go")
			}
			if got := br.seqs("porch/room"); len(got) != 0 {
				t.Errorf("%d readings went", len(got))
			}
		})
	}
}

func TestWithoutProofNothingIsSubscribed(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.unread = true })
		fifty(bl)
		time.Sleep(10 * time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left", n)
		}
	}, func(o *Options) { o.NoProof = true })
	if len(br.conn.topics) > 0 || br.seqs("porch/agent/canary") != nil {
		t.Errorf("subscribed to %v", br.conn.topics)
	}
}

const othersBirth = `{"version":"1.0","boot":"9-0badcafe"}`

func TestTakeOverIsConcludedFromProofAlone(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.retained["porch/agent/info"] = `{"boot":"1-11111111"}` }) // of an earlier start, perhaps
		for range 10 {
			time.Sleep(3 * time.Second)
			br.cut() // the end of a connection proves nothing
		}
		time.Sleep(time.Minute)
		br.set(func() { br.retained["porch/agent/info"] = othersBirth }) // once: an old state, restored
		br.cut()
		time.Sleep(time.Minute)
	})
	if strings.Contains(log, "another client") || len(br.seqs("porch/agent/event")) != 0 {
		t.Errorf("a take-over without proof:\n%s", log)
	}
}

func TestTakeOverIsReportedAndBacksOff(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.set(func() { br.conns = 0 })
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
			br.says("porch/agent/info", othersBirth) // connects, says so
			br.cut()                                 // and has pushed us out
			time.Sleep(time.Second)
		}
	})
	if !strings.Contains(log, `another client uses \"porch\"`) {
		t.Errorf("the log does not tell:\n%s", log)
	}
	if br.conns > 40 {
		t.Errorf("%d connections in 10 minutes: that is too many", br.conns)
	}
	var event string
	for _, m := range br.got {
		if m.Topic == "porch/agent/event" {
			event = string(m.Payload)
		}
	}
	if !strings.Contains(event, `"event":"take_over"`) || !strings.Contains(event, "9-0badcafe") {
		t.Errorf("event %q", event)
	}
}

// TestAForgedBirthProvesNothing: one message on our topic is no take-over, what
// does not have the form of a birth is none, and ours takes its place.
func TestAForgedBirthProvesNothing(t *testing.T) {
	for name, forged := range map[string]string{
		"of our form":         othersBirth,
		"with a boot of 200k": fmt.Sprintf(`{"boot":"%0200000d-0badcafe"}`, 0),
		"with a line break":   `{"boot":"9-0badcaf\n"}`,
	} {
		t.Run(name, func(t *testing.T) {
			br, log := up(t, func(l *Link, br *broker, bl *backlog) {
				time.Sleep(time.Minute)
				br.says("porch/agent/info", forged)
				time.Sleep(time.Second)
				if got := br.kept("porch/agent/info"); !strings.Contains(got, l.opt.Boot) {
					t.Errorf("our birth does not take the place of the forged one: %.100s", got)
				}
				br.says("porch/agent/info", forged)
				for range 3 {
					conns := br.connections()
					br.cut()
					time.Sleep(5 * time.Second)
					if br.connections() == conns {
						t.Error("no connection 5 s after a cut")
					}
					time.Sleep(stableSession)
				}
			})
			if n := len(br.seqs("porch/agent/event")); n != 0 {
				t.Errorf("%d events", n)
			}
			if strings.Contains(log, "another client") || len(log) > 10_000 {
				t.Errorf("%d bytes of log: %.2000s", len(log), log)
			}
		})
	}
}

func TestALateWillIsCorrected(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		for range 3 {
			br.says("porch/agent/status", "offline")
			time.Sleep(time.Second)
			if got := br.kept("porch/agent/status"); got != "online" {
				t.Fatalf("status %q a second after a late will", got)
			}
		}
	})
}

func TestHealthReportsBacklogAndFaults(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		broken := reading("door", 1)
		broken.Err = "no acknowledge"
		l.Observe(broken)
		l.Observe(reading("room", 1))
		time.Sleep(time.Second)
		br.set(func() { br.denies = true })
		br.cut()
		fifty(bl)
		time.Sleep(100 * time.Second)
		br.set(func() { br.denies = false })
		time.Sleep(3 * time.Minute)
	})
	type health struct {
		TS              int64
		Backlog, Oldest int
		Dropped         uint64
		Faults          []string
		Clock           string
		Written         int64
	}
	var all []health
	for _, m := range br.got {
		if m.Topic != "porch/agent/health" {
			continue
		}
		var h health
		if err := json.Unmarshal(m.Payload, &h); err != nil || !m.Retain || !m.AtMostOnce {
			t.Fatalf("%s, %v", m.Payload, err)
		}
		all = append(all, h)
	}
	if len(all) < 4 {
		t.Fatalf("%d heartbeats", len(all))
	}
	worst, last := health{}, all[len(all)-1]
	for _, h := range all {
		if h.Backlog > worst.Backlog {
			worst = h
		}
	}
	if worst.Backlog != 50 || worst.Oldest < 60 || worst.Written == 0 {
		t.Errorf("while it was held: %+v", worst)
	}
	if last.Backlog != 0 || last.Oldest != 0 || last.Clock != "ok" || len(last.Faults) != 1 ||
		last.Faults[0] != "door" {
		t.Errorf("at the end: %+v", last)
	}
}

// TestWindowBoundsWhatIsInFlight: it grows on a quick link, as far as the pace of the
// drain needs it, unless it is configured.
func TestWindowBoundsWhatIsInFlight(t *testing.T) {
	for _, c := range []struct{ window, rate, min, max int }{
		{0, AutoRate, DefaultWindow, 2 * DefaultWindow}, // 25 in a round trip
		{0, 100, DefaultWindow / 2, DefaultWindow},
		{1, 0, 1, 1}, {19, 0, 18, 19}, {64, 0, 63, 64},
		{DefaultWindow, 0, maxQuickWindow - 1, maxQuickWindow},
		{0, 600, 50, 80}, // 60 in a round trip
	} {
		br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
			time.Sleep(time.Second)
			br.set(func() { br.most = 0 })
			for seq := range uint64(20_000) {
				bl.put(reading("room", seq+1))
			}
			bl.put(alarmOf("door", 1))
			time.Sleep(30 * time.Second)
		}, func(o *Options) { o.Drain = Drain{Window: c.window, Rate: c.rate} })
		if br.most > c.max || br.most < c.min {
			t.Errorf("window %d at rate %d: %d messages in flight, want %d to %d", c.window, c.rate, br.most, c.min,
				c.max)
		}
	}
}

// TestTheWindowShrinksWhenTheBrokerQueues, back to the default one.
func TestTheWindowShrinksWhenTheBrokerQueues(t *testing.T) {
	w := window{max: 128, ceiling: 128, pace: func() float64 { return 0 }, shortest: 10 * time.Millisecond, lastSize: 100,
		size: 20_000}
	for _, c := range []struct {
		trip time.Duration
		want int
	}{{14 * time.Millisecond, 128}, {21 * time.Millisecond, 64}, {18 * time.Millisecond, 64},
		{30 * time.Millisecond, 32},
		{30 * time.Millisecond, 20}, {30 * time.Millisecond, 20}, {11 * time.Millisecond, 40}} {
		w.trip, w.used, w.reached = c.trip, 20_000, true
		if w.adjust(); w.max != c.want {
			t.Errorf("round trips of %v: %d messages, want %d", c.trip, w.max, c.want)
		}
	}
}

// TestAQuickLinkIsRefilledByHalfAWindow: the session wakes up once for many readings,
// and alarms do not wait for it.
func TestAQuickLinkIsRefilledByHalfAWindow(t *testing.T) {
	const n, window = 20_000, 100
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.quick, br.each = time.Millisecond, 50*time.Microsecond })
		time.Sleep(time.Second)
		for seq := range uint64(n) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(20 * time.Millisecond)  // each reading that was put has woken the session
		br.set(func() { br.flushes = 0 })  // of 400 for what is left
		time.Sleep(480 * time.Millisecond) // of 1 s
		bl.put(alarmOf("door", 1))
		time.Sleep(window*50*time.Microsecond + 2*time.Millisecond)
		if !br.arrived("porch/door", 1) {
			t.Error("an alarm waits for half a window")
		}
		time.Sleep(2 * time.Second)
		if left := bl.left(); left > 0 {
			t.Errorf("%d readings left", left)
		}
		if got := br.seqs("porch/room"); len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%d readings arrived, want %d in order", len(got), n)
		}
		br.set(func() {
			if br.flushes > n/(window/4) {
				t.Errorf("the window was refilled %d times for %d readings", br.flushes, n)
			}
		})
	}, func(o *Options) { o.Drain = Drain{Window: window} })
}

// TestABrokerThatHoldsAnswersBackIsNotAwaitedAgain for a while: half of the window was
// waited for in vain.
func TestABrokerThatHoldsAnswersBackIsNotAwaitedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := outgoing{routineWaits: true, window: window{max: 128, shortest: time.Millisecond}}
		o.track(&sentMessage{})
		o.track(&sentMessage{})
		o.updateNow()
		if !o.refillsHalf(time.Now()) {
			t.Fatal("half of the window is not waited for on a quick link")
		}
		time.Sleep(refillWait)
		o.updateNow()
		o.pop()
		if o.refillsHalf(time.Now()) {
			t.Error("half of the window is waited for again at once")
		}
		time.Sleep(heldBackFor)
		o.lastProgress = time.Now()
		if o.updateNow(); !o.refillsHalf(time.Now()) {
			t.Error("half of the window is never waited for again")
		}
	})
}

// TestHalfAWindowIsNotAwaitedForLong: what is acknowledged leaves the backlog within
// refillWait, although the broker holds the rest back.
func TestHalfAWindowIsNotAwaitedForLong(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.quick, br.each = time.Millisecond, 50*time.Microsecond })
		time.Sleep(time.Second)
		for seq := range uint64(1000) {
			bl.put(reading("room", seq+1))
		}
		for bl.left() > 500 { // the window is as wide as it gets
			time.Sleep(50 * time.Microsecond)
		}
		br.set(func() { br.each = 20 * time.Millisecond }) // 50 a second: half a window takes a second
		time.Sleep(20 * time.Millisecond)                  // what was sent before that is acknowledged
		before := bl.left()
		time.Sleep(10 * 20 * time.Millisecond)
		if now := bl.left(); before-now < 9 || before-now > 11 {
			t.Errorf("%d readings left the backlog while the broker acknowledged 10", before-now)
		}
	}, func(o *Options) { o.Drain = Drain{Window: 100} })
}

func TestRateHoldsRoutineReadingsOnly(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		fifty(bl)
		time.Sleep(2 * time.Second)
		bl.put(alarmOf("door", 1))
		time.Sleep(200 * time.Millisecond)
		if !br.arrived("porch/door", 1) {
			t.Error("an alarm waits for the rate")
		}
		if n := len(br.seqs("porch/room")); n < 18 || n > 24 {
			t.Errorf("%d readings in 2.2 s at 10 a second", n)
		}
		time.Sleep(5 * time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left", n)
		}
	}, func(o *Options) { o.Drain.Rate = 10 })
}

func TestStatesTakeAThirdOfABusyLink(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.rate = 2500 })
		for seq := range uint64(2000) {
			bl.put(reading("room", seq+1))
		}
		for seq := range uint64(600) {
			for _, stream := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				l.Observe(reading(stream, seq+1))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}, func(o *Options) {
		for _, stream := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			o.Streams = append(o.Streams, sensors.Stream{Name: stream})
		}
	})
	states, history := 0, 0
	for _, m := range br.got {
		switch {
		case m.Topic == "porch/room":
			history += len(m.Payload)
		case strings.HasSuffix(m.Topic, "/state"):
			states += len(m.Payload)
		}
	}
	if share := float64(states) / float64(states+history); share < 0.25 || share > 0.36 {
		t.Errorf("states take %.0f %% of a busy link, want a third", 100*share)
	}
}

func TestTheLinkGoesBackToThePreferredServer(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		fifty(bl)
		br.set(func() { close(br.conn.preferred) })
		time.Sleep(2 * time.Second)
		br.set(func() {
			if br.conns != 2 || br.orderly != 1 {
				t.Errorf("%d connections, %d orderly ends; want a second after an orderly end", br.conns, br.orderly)
			}
		})
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left", n)
		}
	})
	if got := br.seqs("porch/room"); len(got) != 50 {
		t.Errorf("%d of 50 readings arrived, some twice", len(got))
	}
	if strings.Contains(log, "uplink down") {
		t.Errorf("going back is no failure:\n%s", log)
	}
}

func TestPayloadsCostNoAllocations(t *testing.T) {
	it := queue.Item{Boot: "17-9f3c02ab", Reading: sensors.Reading{Stream: "room", Seq: 41, Value: 45.25, Unit: "%",
		At: clock.NewTimekeeper(clock.TrustAlways).Now()}}
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(1000, func() { buf = payload.Append(buf[:0], it, false) }); n != 0 {
		t.Errorf("%v allocations a payload", n)
	}
	h := &history{link: New(Options{Broker: mqtt.Broker{Clock: clock.NewTimekeeper(clock.TrustAlways),
		ClientID: "porch"}, Topics: payload.DefaultPatterns,
		Streams: []sensors.Stream{{Name: "room"}}}, nil, nil, nil)}
	if n := testing.AllocsPerRun(10_000, func() { h.message(&it) }); n > 0.1 {
		t.Errorf("%v allocations a message", n)
	}
}
