package uplink

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// payloads are what arrived on a topic, as it is.
func (b *broker) payloads(topic string) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		if m.Topic == topic {
			all = append(all, string(m.Payload))
		}
	}
	return all
}

// now is a reading that the link's own clock has stamped: [reading] has another one,
// for which no time passes in a bubble.
func now(l *Link, stream string, seq uint64) sensors.Reading {
	r := reading(stream, seq)
	r.At = l.opt.Clock.Now()
	return r
}

// plainRoom makes the payloads of room plain, in this format, and those of door JSON.
func plainRoom(f payload.Format) func(*Options) {
	return func(o *Options) {
		o.Boot = "" // that of the backlog
		o.Formats.Streams = map[string]payload.Format{"room": f}
	}
}

func TestAPlainPayloadIsTheBareValue(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		ok, failed, word := now(l, "room", 1), now(l, "room", 2), now(l, "room", 3)
		ok.Value, failed.Err, word.State = 45.2, "i2c-1 0x38: no acknowledge", "open"
		l.Observe(ok)
		bl.put(ok)
		time.Sleep(time.Second)
		if got := br.kept("porch/room/state"); got != "45.2" {
			t.Errorf("the state is %q", got)
		}
		l.Observe(failed)
		bl.put(failed)
		time.Sleep(time.Second)
		if got := br.kept("porch/room/state"); got != "unavailable" {
			t.Errorf("the state of a failed read is %q", got)
		}
		bl.put(word)
		bl.put(now(l, "door", 1))
		time.Sleep(time.Second)
	}, plainRoom(payload.Plain))
	if got := br.payloads("porch/room"); !slices.Equal(got, []string{"45.2", "unavailable", "open"}) {
		t.Errorf("readings %q", got)
	}
	if got := br.payloads("porch/door"); len(got) != 1 || !strings.HasPrefix(got[0], `{"ts":`) {
		t.Errorf("the other stream has %q", got)
	}
	if got := br.kept("porch/agent/info"); strings.Count(got, `"payload":"plain"`) != 1 {
		t.Errorf("the birth does not say which stream is plain: %s", got)
	}
}

// outage puts a hundred readings of two streams and takes the link away for ten minutes.
func outage(l *Link, br *broker, bl *backlog) {
	time.Sleep(time.Second)
	br.set(func() { br.refuse = fmt.Errorf("no route to host") })
	br.cut()
	for seq := range uint64(50) {
		bl.put(now(l, "room", seq+1))
		bl.put(now(l, "door", seq+1))
	}
	time.Sleep(10 * time.Minute)
	br.set(func() { br.refuse = nil })
	time.Sleep(2 * time.Minute)
	bl.put(now(l, "room", 51))
	time.Sleep(time.Second)
}

// TestTheBacklogOfAPlainStreamIsSkippedAndReported: a plain payload cannot say that it
// is ten minutes old.
func TestTheBacklogOfAPlainStreamIsSkippedAndReported(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		outage(l, br, bl)
		if n := bl.left(); n != 0 {
			t.Errorf("%d are left in the backlog", n)
		}
		if s := l.Status(); s.Skipped != 50 || s.Delivered != 52 { // door, the last of room, and the event
			t.Errorf("%d skipped and %d delivered, want 50 and 52", s.Skipped, s.Delivered)
		}
		time.Sleep(time.Minute)
	}, plainRoom(payload.Plain))
	if got := br.payloads("porch/room"); !slices.Equal(got, []string{"51"}) {
		t.Errorf("the plain stream got %q, want the live reading alone", got)
	}
	inOrder(t, br, "porch/door", 50)
	var event struct {
		Event   string
		Count   int
		Streams []string
		First   int64 `json:"first_ts"`
		Last    int64 `json:"last_ts"`
	}
	events := br.payloads("porch/agent/event")
	if len(events) != 1 || json.Unmarshal([]byte(events[0]), &event) != nil {
		t.Fatalf("events %q", events)
	}
	if event.Event != "skipped" || event.Count != 50 || !slices.Equal(event.Streams, []string{"room"}) ||
		event.First == 0 || event.Last < event.First {
		t.Errorf("the event is %s", events[0])
	}
	if got := br.kept("porch/agent/health"); !strings.Contains(got, `"skipped":50`) {
		t.Errorf("health says %s", got)
	}
	if n := strings.Count(log, "too late for a plain payload"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
}

func TestWithHistoryTheBacklogOfAPlainStreamIsSent(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		outage(l, br, bl)
		if s := l.Status(); s.Skipped != 0 || bl.left() != 0 {
			t.Errorf("%d skipped, %d left", s.Skipped, bl.left())
		}
	}, plainRoom(payload.PlainHistory))
	got := br.payloads("porch/room")
	for i := range uint64(51) {
		if want := fmt.Sprint(i + 1); int(i) >= len(got) || got[i] != want {
			t.Fatalf("arrival %d of %d is not %s", i, len(got), want)
		}
	}
	if events := br.payloads("porch/agent/event"); len(events) != 0 {
		t.Errorf("events %q", events)
	}
}

// TestOfAnEarlierStartAPlainStreamSendsNothing: such a reading is historical however
// young it is.
func TestOfAnEarlierStartAPlainStreamSendsNothing(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		bl.put(now(l, "room", 1))
		time.Sleep(time.Minute)
		if s := l.Status(); s.Skipped != 1 || bl.left() != 0 {
			t.Errorf("%d skipped, %d left", s.Skipped, bl.left())
		}
	}, plainRoom(payload.Plain), func(o *Options) { o.Boot = "9-99999999" })
	if got := br.payloads("porch/room"); len(got) != 0 {
		t.Errorf("%q was sent", got)
	}
}

// TestAPlainStreamThatWasHeldComesBack: the broker drops its readings for an hour. One
// that is kept proves that it takes them again, and the others are too late.
func TestAPlainStreamThatWasHeldComesBack(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		seq := uint64(0)
		minutes := func(n int) {
			for range n {
				seq++
				bl.put(now(l, "room", seq))
				time.Sleep(time.Minute)
			}
		}
		br.set(func() { br.drops = on("porch/room") })
		minutes(60)
		if bl.Stats().Rejected == 0 {
			t.Fatal("the stream is not held")
		}
		before := len(br.payloads("porch/room"))
		br.set(func() { br.drops = nil })
		minutes(10)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		if got := br.payloads("porch/room")[before:]; len(got) < 7 || len(got) > 13 || got[len(got)-1] != "70" {
			t.Errorf("after that %q arrived: want one of the hour, and those of the ten minutes", got)
		}
		if s := l.Status(); s.Skipped < 50 {
			t.Errorf("%d skipped of about 58", s.Skipped)
		}
	}, plainRoom(payload.Plain))
}

// TestNothingIsSkippedWithoutTheProofThatWeMayPublish: while nothing proves that we may
// publish, nothing leaves the backlog.
func TestNothingIsSkippedWithoutTheProofThatWeMayPublish(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.denies = true })
		for seq := range uint64(50) {
			bl.put(now(l, "room", seq+1))
		}
		time.Sleep(10 * time.Minute)
		if n := bl.left(); n != 50 {
			t.Errorf("%d of 50 are left while the broker denies everything", n)
		}
		br.set(func() { br.denies = false })
		time.Sleep(5 * time.Minute)
		if s := l.Status(); s.Skipped != 50 || bl.left() != 0 {
			t.Errorf("%d skipped, %d left", s.Skipped, bl.left())
		}
	}, plainRoom(payload.Plain))
}
