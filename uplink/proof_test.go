package uplink

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// accounted fails unless each of the first n readings of a stream has arrived or
// lies in a declared gap. It returns how many arrived and how many lie in gaps.
func accounted(t interface{ Errorf(string, ...any) }, br *broker, stream string, n uint64) (arrived, declared int) {
	seen := map[uint64]bool{}
	for _, seq := range br.seqs("porch/" + stream) {
		seen[seq] = true
	}
	var gaps []queue.Gap
	for _, e := range br.events("gap") {
		var g queue.Gap
		if json.Unmarshal([]byte(e), &g); g.Stream == stream {
			gaps = append(gaps, g)
		}
	}
	var missing []uint64
	for seq := uint64(1); seq <= n; seq++ {
		in := slices.ContainsFunc(gaps, func(g queue.Gap) bool { return g.From <= seq && seq <= g.To })
		switch {
		case seen[seq]:
			arrived++
		case in:
			declared++
		default:
			missing = append(missing, seq)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%s: %d of %d neither arrived nor lie in a gap, from %d to %d; gaps %+v",
			stream, len(missing), n, missing[0], missing[len(missing)-1], gaps)
	}
	return arrived, declared
}

// drip puts readings of the room four times a second and alarms of the door each
// second, for some time.
type drip struct{ room, door uint64 }

func (d *drip) run(l *Link, bl *backlog, secs int) {
	for range secs {
		d.door++
		r := alarmOf("door", d.door)
		l.Observe(r)
		bl.put(r)
		for range 4 {
			d.room++
			r := reading("room", d.room)
			l.Observe(r)
			bl.put(r)
			time.Sleep(250 * time.Millisecond)
		}
	}
}

func on(topics ...string) func(mqtt.Message) bool {
	return func(m mqtt.Message) bool { return slices.Contains(topics, m.Topic) }
}

// TestADeniedStreamIsHeldAndLosesNothing: the broker acknowledges what its access
// list denies, and the canary says nothing about another topic.
func TestADeniedStreamIsHeldAndLosesNothing(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.drops = on("porch/room") })
		var d drip
		d.run(l, bl, 40)
		if n := len(br.seqs("porch/door")); n < 39 {
			t.Errorf("%d of 40 alarms arrived beside a stream that is denied", n)
		}
		if kept := bl.Stats().Rejected; kept < 150 {
			t.Errorf("%d of 160 readings are kept", kept)
		}
		time.Sleep(time.Second)
		var health struct{ Refused []string }
		if json.Unmarshal([]byte(br.kept("porch/agent/health")), &health); !slices.Equal(health.Refused,
			[]string{"room"}) {
			t.Errorf("health: %s", br.kept("porch/agent/health"))
		}
		d.run(l, bl, 120)
		br.set(func() { br.drops = nil })
		d.run(l, bl, 70)
		time.Sleep(5 * time.Second)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept a minute after it is allowed", left, kept)
		}
		inOrder(t, br, "porch/room", d.room)
		inOrder(t, br, "porch/door", d.door)
	})
	if gaps := br.events("gap"); len(gaps) != 0 {
		t.Errorf("gaps, and nothing is missing: %q", gaps)
	}
	if n := strings.Count(log, "level=ERROR"); n != 1 || !strings.Contains(log, "topic=porch/room") ||
		!strings.Contains(log, "prove_publish") {
		t.Errorf("want one error that names the topic and both causes:\n%s", log)
	}
	if n := strings.Count(log, "accepts a stream again"); n != 1 {
		t.Errorf("%d lines for the stream that is accepted again:\n%s", n, log)
	}
}

// TestAHeldStreamGoesOnAfterARestart: what was kept comes first, in order.
func TestAHeldStreamGoesOnAfterARestart(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.drops = on("porch/room") })
		var d drip
		d.run(l, bl, 30)
		for range 3 {
			br.cut()
			d.run(l, bl, 30)
		}
		br.set(func() { br.drops = nil })
		br.cut()
		d.run(l, bl, 130)
		time.Sleep(time.Second)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		inOrder(t, br, "porch/room", d.room)
	})
}

// TestRightsRevokedForAMinuteLoseNothingSilently: also those of one
// stream alone, and when alarms end before anybody knows.
func TestRightsRevokedForAMinuteLoseNothingSilently(t *testing.T) {
	for name, drops := range map[string]func(mqtt.Message) bool{
		"all":      func(mqtt.Message) bool { return true },
		"readings": on("porch/room", "porch/door"),
		"room":     on("porch/room"),
	} {
		t.Run(name, func(t *testing.T) {
			var d drip
			br, log := up(t, func(l *Link, br *broker, bl *backlog) {
				d.run(l, bl, 100)
				br.set(func() { br.drops = drops })
				d.run(l, bl, 130)
				br.set(func() { br.drops = nil })
				d.run(l, bl, 150)
				time.Sleep(5 * time.Second)
				if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
					t.Errorf("%d left, %d kept", left, kept)
				}
			})
			_, lost := accounted(t, br, "room", d.room)
			accounted(t, br, "door", d.door)
			if lost == 0 || lost > 520 {
				t.Errorf("%d readings lie in gaps", lost)
			}
			if !strings.Contains(log, "may not have arrived") {
				t.Errorf("the log does not say so:\n%s", log)
			}
		})
	}
}

// TestShortRevocationOfAllIsNoticed: 70 seconds are enough, wherever between two
// probes they begin.
func TestShortRevocationOfAllIsNoticed(t *testing.T) {
	for _, before := range []int{20, 46, 54, 57, 70, 101, 112} {
		var d drip
		br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
			d.run(l, bl, before)
			br.set(func() { br.drops = on("porch/room", "porch/door") })
			d.run(l, bl, 70)
			br.set(func() { br.drops = nil })
			d.run(l, bl, 150)
			time.Sleep(5 * time.Second)
			if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
				t.Errorf("%d left, %d kept", left, kept)
			}
		})
		_, lost := accounted(t, br, "room", d.room)
		accounted(t, br, "door", d.door)
		if lost == 0 {
			t.Errorf("revoked after %d s: no reading lies in a gap", before)
		}
	}
}

// TestProofsAreCheap: one echo for each stream and session, and one a minute.
func TestProofsAreCheap(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		var d drip
		d.run(l, bl, 40)
		if br.echoCount() != 2 {
			t.Errorf("%d echoes of two streams in a session", br.echoCount())
		}
		d.run(l, bl, 600)
		if n := br.echoCount() - 2; n < 10 || n > 14 {
			t.Errorf("%d more echoes in ten minutes", n)
		}
	})
}

// TestABrokerThatForwardsLateIsNotBlamed: one that deals with the UNSUBSCRIBE
// before it forwards.
func TestABrokerThatForwardsLateIsNotBlamed(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.late = true })
		var d drip
		d.run(l, bl, 100)
		br.cut()
		d.run(l, bl, 100)
		time.Sleep(time.Second)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		inOrder(t, br, "porch/room", d.room)
	})
	if strings.Contains(log, "level=ERROR") || len(br.events("gap"))+len(br.events("aside")) > 0 {
		t.Errorf("events %q, log:\n%s", br.events("gap"), log)
	}
}

// TestAStreamThatMayNotBeReadIsHeld: nothing proves that it arrives.
func TestAStreamThatMayNotBeReadIsHeld(t *testing.T) {
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.secret = "porch/room" })
		var d drip
		d.run(l, bl, 20)
		if n := len(br.seqs("porch/door")); n < 19 {
			t.Errorf("%d of 20 alarms arrived", n)
		}
		if kept := bl.Stats().Rejected; kept < 72 {
			t.Errorf("%d of 80 readings are kept", kept)
		}
	})
	if n := strings.Count(log, "level=ERROR"); n != 1 || !strings.Contains(log,
		"refuses the subscription to porch/room") {
		t.Errorf("log:\n%s", log)
	}
}

// TestABrokerThatClosesForASubscriptionGetsTheReadings: without proof, and health
// says so.
func TestABrokerThatClosesForASubscriptionGetsTheReadings(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.closesForTopic = func(topic string) bool {
				return slices.Contains([]string{"porch/room", "porch/door", "porch/agent/event"}, topic)
			}
		})
		var d drip
		d.run(l, bl, 300)
		time.Sleep(10 * time.Second)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		inOrder(t, br, "porch/room", d.room)
		inOrder(t, br, "porch/door", d.door)
		var health struct{ Unproven string }
		if json.Unmarshal([]byte(br.kept("porch/agent/health")), &health); !strings.Contains(health.Unproven,
			"subscribe") {
			t.Errorf("health: %s", br.kept("porch/agent/health"))
		}
		if n := br.connections(); n > 8 {
			t.Errorf("%d connections", n)
		}
	})
	if n := strings.Count(log, "level=ERROR"); n != 1 || len(br.events("gap")) > 0 || t.Failed() {
		t.Errorf("gaps %q, log:\n%s", br.events("gap"), log)
	}
}

// TestHealthReportsMissingProof: a person who reads it must not believe more.
func TestHealthReportsMissingProof(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) { time.Sleep(2 * time.Second) },
		func(o *Options) { o.NoProof = true })
	if got := br.kept("porch/agent/health"); !strings.Contains(got, `"unproven":"mqtt.prove_publish is false"`) {
		t.Error(got)
	}
}

// TestHealthListsProblemsOfTheMachine: and has no such key where there are none.
func TestHealthListsProblemsOfTheMachine(t *testing.T) {
	for want, problems := range map[string][]string{
		`"problems":["watchdog: it is off","card: it is worn"]`: {"watchdog: it is off", "card: it is worn"},
		`"written":0}`: nil,
	} {
		br, _ := up(t, func(l *Link, br *broker, bl *backlog) { time.Sleep(2 * time.Second) },
			func(o *Options) { o.Problems = func() []string { return problems } })
		if got := br.kept("porch/agent/health"); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestAHeldStreamDoesNotPutOffTheProofsOfOthers: it is tried once a minute with a probe. A
// stream with one reading a minute, soon after that, has its turn all the same.
func TestAHeldStreamDoesNotPutOffTheProofsOfOthers(t *testing.T) {
	const n = 25
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		put := func(r sensors.Reading) { l.Observe(r); bl.put(r) }
		put(reading("room", 1))
		put(alarmOf("door", 1))
		time.Sleep(2 * time.Minute)
		br.set(func() { br.drops = func(m mqtt.Message) bool { return m.Topic == "porch/door" } })
		put(alarmOf("door", 2))
		for len(br.events("aside")) == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(20 * time.Second)
		for seq := uint64(2); seq <= n; seq++ {
			put(reading("room", seq))
			time.Sleep(holdRetry)
			if seq == 10 {
				br.set(func() { br.drops = func(m mqtt.Message) bool { return m.Topic != "porch/agent/canary" } })
			}
		}
		br.set(func() { br.drops = nil })
		br.cut() // what was acknowledged before it is not known to have arrived
		time.Sleep(5 * time.Minute)
	})
	held := "a stream is held: the broker acknowledges its readings and does not forward them\" stream=room"
	if !strings.Contains(log, held) {
		t.Errorf("that the broker drops the room was not noticed:\n%s", log)
	}
	accounted(t, br, "room", n)
}
