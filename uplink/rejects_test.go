package uplink

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// seqOf is the number of a reading on a topic; 0 if it is something else.
func seqOf(m mqtt.Message, topic string) uint64 {
	var p struct{ Seq uint64 }
	if m.Topic == topic {
		json.Unmarshal(m.Payload, &p)
	}
	return p.Seq
}

// events are the events of a name that arrived.
func (b *broker) events(name string) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		var e struct{ Event string }
		if m.Topic == "porch/agent/event" && json.Unmarshal(m.Payload, &e) == nil && e.Event == name {
			all = append(all, string(m.Payload))
		}
	}
	return all
}

// inOrder says that the first arrivals of a stream are 1, 2, ... n but for some.
func inOrder(t *testing.T, br *broker, topic string, n uint64, but ...uint64) {
	t.Helper()
	newest := uint64(0)
	seen := map[uint64]bool{}
	for _, seq := range br.seqs(topic) {
		if !seen[seq] && seq < newest {
			t.Errorf("%s: %d came after %d", topic, seq, newest)
		}
		seen[seq], newest = true, max(newest, seq)
	}
	for seq := uint64(1); seq <= n; seq++ {
		if seen[seq] == slices.Contains(but, seq) {
			t.Errorf("%s: %d arrived: %v", topic, seq, seen[seq])
		}
	}
}

func TestPoisonIsRejectedAndTheRestArrives(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = func(m mqtt.Message) bool { return seqOf(m, "porch/room") == 20 } })
		fifty(bl)
		time.Sleep(10 * time.Minute)
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 1 {
			t.Errorf("%d left, %d set aside", left, aside)
		}
		inOrder(t, br, "porch/room", 50, 20)
		conns := br.connections()
		time.Sleep(23 * time.Hour)
		if br.connections() != conns {
			t.Errorf("%d connections within a day", br.connections()-conns)
		}
		time.Sleep(2 * time.Hour)
		if more := br.connections() - conns; more != 1 || bl.Stats().Rejected != 1 {
			t.Errorf("%d more connections after a day's trial, %d aside", more, bl.Stats().Rejected)
		}
		br.set(func() { br.closesFor = nil })
		time.Sleep(25 * time.Hour)
		if n := bl.Stats().Rejected; n != 0 {
			t.Errorf("%d aside when the broker takes all", n)
		}
	})
	if got := br.seqs("porch/room"); !slices.Contains(got, 20) {
		t.Error("it did not arrive when the broker took it")
	}
	gaps, rejects := br.events("gap"), br.events("aside")
	if len(gaps) != 1 || !strings.Contains(gaps[0], `"from":20,"to":20,"count":1,"why":"aside"`) {
		t.Errorf("gaps %q", gaps)
	}
	if len(rejects) != 1 || !strings.Contains(rejects[0], `"stream":"room"`) {
		t.Errorf("events %q", rejects)
	}
	if n := strings.Count(log, "level=ERROR"); n != 1 || !strings.Contains(log, "seq=20 ") {
		t.Errorf("%d errors:\n%s", n, log)
	}
}

func TestARefusedStreamIsHeldAndTheOthersGo(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = func(m mqtt.Message) bool { return m.Topic == "porch/room" } })
		for seq := range uint64(50) {
			bl.put(reading("room", seq+1))
			bl.put(reading("door", seq+1))
		}
		time.Sleep(30 * time.Minute)
		for seq := range uint64(50) {
			bl.put(reading("room", seq+51))
			bl.put(reading("door", seq+51))
			time.Sleep(time.Second)
		}
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 100 {
			t.Errorf("%d left, %d kept", left, aside)
		}
		inOrder(t, br, "porch/door", 100)
		if n := br.connections(); n > 20 {
			t.Errorf("%d connections", n)
		}
		var health struct{ Refused []string }
		json.Unmarshal([]byte(br.kept("porch/agent/health")), &health)
		if !slices.Equal(health.Refused, []string{"room"}) {
			t.Errorf("health: %s", br.kept("porch/agent/health"))
		}
		br.set(func() { br.closesFor = nil })
		time.Sleep(25 * time.Hour)
		bl.put(reading("room", 101))
		time.Sleep(time.Minute)
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 0 {
			t.Errorf("%d left, %d kept after it is allowed", left, aside)
		}
	})
	got := br.seqs("porch/room")
	if len(got) < 101 {
		t.Fatalf("%d of 101 arrived", len(got))
	}
	inOrder(t, br, "porch/room", 101)
	if gaps := br.events("gap"); len(gaps) != 0 {
		t.Errorf("declared as missing, and all arrived: %q", gaps)
	}
	if n := strings.Count(log, "level=ERROR"); n != 1 {
		t.Errorf("%d errors:\n%s", n, log)
	}
}

// TestABrokerThatClosesForAStreamCostsTheOthersLittle: whether it took the stream
// before or not, it is held soon, and alarms of others wait for seconds only: how many, is drawn.
func TestABrokerThatClosesForAStreamCostsTheOthersLittle(t *testing.T) {
	for _, before := range []int{0, 100} {
		up(t, func(l *Link, br *broker, bl *backlog) {
			var d drip
			d.run(l, bl, before)
			br.set(func() { br.closesFor = on("porch/room") })
			worst, put, arrived := time.Duration(0), map[uint64]time.Time{}, 0
			for range 120 {
				put[d.door+1] = time.Now()
				d.run(l, bl, 1)
				all := br.seqs("porch/door")
				for _, seq := range all[arrived:] {
					if at, ok := put[seq]; ok {
						worst = max(worst, time.Since(at))
					}
				}
				arrived = len(all)
			}
			if worst > 30*time.Second || bl.Stats().Rejected == 0 || bl.left() > 8 {
				t.Errorf("an alarm waited for %v; %d kept, %d left", worst, bl.Stats().Rejected, bl.left())
			}
			if n := br.connections(); n > 12 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestAHoldOutlivesADiskThatFails: what is held comes before what is newer, also
// when it cannot be read on the day of its trial.
func TestAHoldOutlivesADiskThatFails(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = func(m mqtt.Message) bool { return m.Topic == "porch/room" } })
		fifty(bl)
		time.Sleep(30 * time.Minute)
		br.set(func() { br.closesFor = nil })
		bl.torn.Store(true)
		time.Sleep(25 * time.Hour)
		bl.put(reading("room", 51))
		time.Sleep(time.Minute)
		if n := len(br.seqs("porch/room")); n != 0 {
			t.Errorf("%d newer ones overtook what is held", n)
		}
		bl.torn.Store(false)
		time.Sleep(25 * time.Hour)
		if n := bl.Stats().Rejected; n != 0 {
			t.Errorf("%d kept when the disk is well", n)
		}
	}, func(o *Options) { o.Stats = nil }) // no heartbeat: nothing is in flight when the trial is due
	inOrder(t, br, "porch/room", 51)
	if n := strings.Count(log, "messages that were set aside cannot be read"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log)
	}
}

// TestARestartTriesAgainWhatWasHeld in order, and sends nothing of the stream
// before it.
func TestARestartTriesAgainWhatWasHeld(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = func(m mqtt.Message) bool { return m.Topic == "porch/room" } })
		fifty(bl)
		time.Sleep(30 * time.Minute)
		next := New(l.opt, bl, br.dial, slog.New(slog.DiscardHandler))
		next.loadHeld()
		if next.rejects.held["room"] == nil {
			t.Error("the next start does not know what is held")
		}
	})
	if got := br.seqs("porch/room"); len(got) != 0 {
		t.Errorf("%v arrived", got)
	}
}

func TestCutLinkMakesNoMessagePoison(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.rate = 2500 })
		for seq := range uint64(500) {
			bl.put(reading("room", seq+1))
		}
		for range 60 {
			time.Sleep(5 * time.Second)
			br.cut()
		}
		time.Sleep(10 * time.Minute)
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 0 {
			t.Errorf("%d left, %d set aside", left, aside)
		}
	})
	inOrder(t, br, "porch/room", 500)
}

// TestRestartingBrokerMakesNoMessagePoison: it closes every connection in order,
// whatever is in flight.
func TestRestartingBrokerMakesNoMessagePoison(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		for seq := range uint64(300) {
			bl.put(reading("room", seq+1))
			if seq%10 == 0 {
				time.Sleep(50 * time.Millisecond)
				br.set(func() { br.conn.why = mqtt.ErrBrokerClosed; br.conn.Close() })
			}
			time.Sleep(3 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 0 {
			t.Errorf("%d left, %d set aside", left, aside)
		}
	})
	inOrder(t, br, "porch/room", 300)
}

// TestRefusedStateIsNotRetried: the history goes on.
func TestRefusedStateIsNotRetried(t *testing.T) {
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = func(m mqtt.Message) bool { return m.Topic == "porch/room/state" } })
		l.Observe(reading("room", 1))
		l.Observe(reading("door", 1))
		fifty(bl)
		time.Sleep(10 * time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d left", n)
		}
		conns := br.connections()
		for seq := range uint64(10) {
			l.Observe(reading("room", seq))
			time.Sleep(time.Minute)
		}
		if br.connections() != conns || br.kept("porch/door/state") == "" {
			t.Errorf("%d more connections, state of the door %q", br.connections()-conns, br.kept("porch/door/state"))
		}
		br.set(func() { br.closesFor = nil })
		time.Sleep(25 * time.Hour)
		if br.kept("porch/room/state") == "" {
			t.Error("the state is not sent after a day")
		}
	})
	if n := strings.Count(log, "level=ERROR"); n != 1 {
		t.Errorf("%d errors:\n%s", n, log)
	}
}

// TestRefusedEventsDoNotBlockOthers: not even by events that say so.
func TestRefusedEventsDoNotBlockOthers(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesFor = func(m mqtt.Message) bool { return m.Topic == "porch/agent/event" } })
		bl.Report(sensors.Event{Name: "fault", At: l.opt.Clock.Now(), Details: json.RawMessage(`{"stream":"room"}`)})
		bl.Report(sensors.Event{Name: "recovered", At: l.opt.Clock.Now(),
			Details: json.RawMessage(`{"stream":"room"}`)})
		fifty(bl)
		time.Sleep(30 * time.Minute)
		bl.Report(sensors.Event{Name: "fault", At: l.opt.Clock.Now(), Details: json.RawMessage(`{"stream":"room"}`)})
		time.Sleep(time.Minute)
		if left, conns := bl.left(), br.connections(); left != 0 || conns > 20 {
			t.Errorf("%d left, %d connections", left, conns)
		}
		var health struct{ Refused []string }
		json.Unmarshal([]byte(br.kept("porch/agent/health")), &health)
		if !slices.Equal(health.Refused, []string{"agent/event"}) {
			t.Errorf("health: %s", br.kept("porch/agent/health"))
		}
		br.set(func() { br.closesFor = nil })
		time.Sleep(25 * time.Hour)
		if n := bl.Stats().Rejected; n != 0 {
			t.Errorf("%d kept after they are allowed", n)
		}
	})
	inOrder(t, br, "porch/room", 50)
	if faults := br.events("fault"); len(faults) != 2 {
		t.Errorf("faults %q", faults)
	}
}
