package uplink

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// by5 is up with a broker that speaks MQTT 5 and refuses as a function says.
func by5(t *testing.T, refuses func(mqtt.Message) *mqtt.PublishError,
	f func(l *Link, br *broker, bl *backlog)) (*broker, string) {
	t.Helper()
	return upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5}, refuses: refuses}, f)
}

// always refuses all messages that a function selects with a code.
func always(code byte, selects func(mqtt.Message) bool) func(mqtt.Message) *mqtt.PublishError {
	return func(m mqtt.Message) *mqtt.PublishError {
		if !selects(m) {
			return nil
		}
		return &mqtt.PublishError{Code: code}
	}
}

func any5(mqtt.Message) bool { return true }

// TestARefusedBacklogIsHeldAtOnce: the log and health say why within a second, without a
// canary, and nothing is lost. Denied and over quota are the same in that.
func TestARefusedBacklogIsHeldAtOnce(t *testing.T) {
	for _, code := range []byte{0x87, 0x97, 0x80, 0xfe} {
		canaries := 0
		refuse := always(code, any5)
		br, log := by5(t, func(m mqtt.Message) *mqtt.PublishError {
			if m.Topic == "porch/agent/canary" {
				canaries++
			}
			return refuse(m)
		}, func(l *Link, br *broker, bl *backlog) {
			fifty(bl)
			for seq := range uint64(3) {
				bl.put(alarmOf("door", seq+1))
			}
			time.Sleep(time.Second)
			if held := l.Status().Held; !strings.Contains(held, "refuses what we publish") {
				t.Errorf("code %#x: held after a second: %q", code, held)
			}
			for range 3 {
				time.Sleep(time.Minute)
				br.cut()
			}
			time.Sleep(time.Minute)
			if n := bl.left(); n != 53 {
				t.Fatalf("code %#x: %d of 53 left while nothing is taken", code, n)
			}
			br.set(func() { br.refuses = nil })
			time.Sleep(2 * time.Minute)
			if n, held := bl.left(), l.Status().Held; n != 0 || held != "" {
				t.Errorf("code %#x: %d left after it is allowed, held %q", code, n, held)
			}
		})
		inOrder(t, br, "porch/room", 50)
		inOrder(t, br, "porch/door", 3)
		if n := strings.Count(log, "level=ERROR"); n != 1 || canaries > 0 {
			t.Errorf("code %#x: %d errors, %d canaries:\n%s", code, n, canaries, log)
		}
	}
}

// TestARefusedStreamIsHeldAlone: what else is there goes, also if it is the routine lane
// in which both wait.
func TestARefusedStreamIsHeldAlone(t *testing.T) {
	for _, code := range []byte{0x87, 0x90} { // ejabberd has the latter for what it denies
		refusedAlone(t, code, &broker{})
	}
}

// TestAStreamIsHeldAloneOnASlowLink, whose round trip is longer than evidenceAge.
func TestAStreamIsHeldAloneOnASlowLink(t *testing.T) {
	refusedAlone(t, 0x87, &broker{each: time.Microsecond, quick: 2 * evidenceAge})
}

// TestAStreamIsHeldAloneWhateverTheCode: a broker that refuses one stream, without a word of
// its topic, and takes the others.
func TestAStreamIsHeldAloneWhateverTheCode(t *testing.T) {
	for _, code := range []byte{0x80, 0x83, 0x97, 0xfe} {
		refusedAlone(t, code, &broker{})
	}
}

func refusedAlone(t *testing.T, code byte, by *broker) {
	by.facts, by.refuses = mqtt.Facts{Version: mqtt.V5}, always(code, on("porch/room"))
	br, log := upWith(t, by, func(l *Link, br *broker, bl *backlog) {
		fifty(bl)
		for seq := range uint64(50) {
			bl.put(reading("hall", seq+1))
		}
		time.Sleep(30 * time.Second)
		inOrder(t, br, "porch/hall", 50)
		if n := len(br.seqs("porch/hall")); n > 100 {
			t.Errorf("code %#x: %d copies of 50 readings that the broker takes", code, n)
		}
		if l.Status().Held != "" {
			t.Errorf("all is held: %s", l.Status().Held)
		}
		if kept := bl.Stats().Rejected; kept != 50 {
			t.Errorf("%d are kept", kept)
		}
		br.set(func() { br.refuses = nil })
		time.Sleep(2 * time.Minute)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
	})
	inOrder(t, br, "porch/room", 50)
	inOrder(t, br, "porch/hall", 50)
	if br.conns != 1 || !strings.Contains(log, "a stream is held: the broker refuses its readings") {
		t.Errorf("%d connections:\n%s", br.conns, log)
	}
}

// TestMessageAtFaultIsRejectedAtOnce, without the loss of a connection.
func TestMessageAtFaultIsRejectedAtOnce(t *testing.T) {
	for _, code := range []byte{0x95, 0x99} {
		br, log := by5(t, always(code, func(m mqtt.Message) bool { return seqOf(m, "porch/room") == 20 }),
			func(l *Link, br *broker, bl *backlog) {
				fifty(bl)
				time.Sleep(5 * time.Second)
				if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 1 {
					t.Errorf("code %#x: %d left, %d aside", code, left, aside)
				}
			})
		inOrder(t, br, "porch/room", 50, 20)
		if gaps := br.events("gap"); len(gaps) != 1 || br.conns != 1 || strings.Count(log, "level=ERROR") != 1 {
			t.Errorf("code %#x: gaps %v, %d connections:\n%s", code, gaps, br.conns, log)
		}
	}
}

// TestEveryMessageOfAStreamAtFault is kept, and not told one by one.
func TestEveryMessageOfAStreamAtFault(t *testing.T) {
	br, log := by5(t, always(0x99, on("porch/room")), func(l *Link, br *broker, bl *backlog) {
		fifty(bl)
		for seq := range uint64(50) {
			bl.put(reading("hall", seq+1))
		}
		time.Sleep(time.Minute)
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 50 {
			t.Errorf("%d left, %d aside", left, aside)
		}
		br.set(func() { br.refuses = nil })
		time.Sleep(25 * time.Hour)
		if aside := bl.Stats().Rejected; aside != 0 {
			t.Errorf("%d aside a day later", aside)
		}
	})
	inOrder(t, br, "porch/hall", 50)
	if br.conns != 1 || strings.Count(log, "level=ERROR") != 2 {
		t.Errorf("%d connections:\n%s", br.conns, log)
	}
}

// TestMessagesWithoutSubscribersAreCounted, with one event when it begins and one when it
// ends.
func TestMessagesWithoutSubscribersAreCounted(t *testing.T) {
	var health string
	br, _ := by5(t, nil, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.nobody = on("porch/room") })
		fifty(bl)
		time.Sleep(2 * time.Minute)
		health = br.kept("porch/agent/health")
		if n := l.Unheard()["room"]; n != 50 {
			t.Errorf("the status counts %d", n)
		}
		br.set(func() { br.nobody = nil })
		bl.put(reading("room", 51))
		time.Sleep(2 * time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d left", n)
		}
	})
	var h struct{ Unheard map[string]int }
	if err := json.Unmarshal([]byte(health), &h); err != nil || h.Unheard["room"] != 50 {
		t.Errorf("health %s, %v", health, err)
	}
	if last := br.kept("porch/agent/health"); strings.Contains(last, "unheard") {
		t.Errorf("health says it still: %s", last)
	}
	events := br.events("unheard")
	if len(events) != 2 || !strings.Contains(events[0], `"began":true`) || !strings.Contains(events[1], `"count":50`) {
		t.Errorf("events %v", events)
	}
}

// TestTheReceiveMaximumBoundsTheWindow.
func TestTheReceiveMaximumBoundsTheWindow(t *testing.T) {
	for _, most := range []int{1, 7} {
		br, _ := upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5, ReceiveMaximum: most}, quick: time.Millisecond},
			func(l *Link, br *broker, bl *backlog) {
				fifty(bl)
				time.Sleep(time.Minute)
				if n := bl.left(); n != 0 {
					t.Errorf("%d left", n)
				}
			})
		if br.most > most {
			t.Errorf("%d in flight, and the broker takes %d", br.most, most)
		}
	}
}

// TestABirthThatIsTooLargeGoesInItsShortForm, in the same session.
func TestABirthThatIsTooLargeGoesInItsShortForm(t *testing.T) {
	br, log := by5(t, func(m mqtt.Message) *mqtt.PublishError {
		if len(m.Payload) > 150 && m.Topic == "porch/agent/info" {
			return &mqtt.PublishError{Code: 0x95, Unsent: true}
		}
		return nil
	}, func(l *Link, br *broker, bl *backlog) {
		fifty(bl)
		time.Sleep(5 * time.Minute)
	})
	if info := br.kept("porch/agent/info"); !strings.Contains(info, `"truncated":true`) || br.conns != 1 ||
		strings.Count(log, "level=ERROR") != 1 {
		t.Errorf("%d connections, info %s:\n%s", br.conns, info, log)
	}
	inOrder(t, br, "porch/room", 50)
}

// TestOneRefusedItemDoesNotBlockOthers: the code does not say that the message is at fault,
// and the broker takes all others of its stream.
func TestOneRefusedItemDoesNotBlockOthers(t *testing.T) {
	for _, code := range []byte{0x80, 0x83, 0xfe} {
		br, log := by5(t, always(code, func(m mqtt.Message) bool { return seqOf(m, "porch/room") == 20 }),
			func(l *Link, br *broker, bl *backlog) {
				fifty(bl)
				time.Sleep(10 * time.Second)
				if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 1 {
					t.Errorf("code %#x: %d left, %d aside", code, left, aside)
				}
			})
		inOrder(t, br, "porch/room", 50, 20)
		if n := len(br.seqs("porch/room")); n > 150 || br.conns != 1 {
			t.Errorf("code %#x: %d copies of 49, %d connections:\n%s", code, n, br.conns, log)
		}
	}
}

// TestExceededQuotaIsRetriedLater: a broker that takes some readings and not others is not asked again
// in each round trip, and all arrive in the end.
func TestExceededQuotaIsRetriedLater(t *testing.T) {
	var until time.Time
	br, log := by5(t, func(m mqtt.Message) *mqtt.PublishError {
		if seq := seqOf(m, "porch/room"); seq > 0 && seq%5 == 0 && time.Now().Before(until) {
			return &mqtt.PublishError{Code: 0x97}
		}
		return nil
	}, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { until = time.Now().Add(3 * time.Minute) })
		for seq := range uint64(50) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(5 * time.Minute)
		if left, aside := bl.left(), bl.Stats().Rejected; left != 0 || aside != 0 {
			t.Errorf("%d left, %d aside", left, aside)
		}
	})
	seen := map[uint64]bool{}
	for _, seq := range br.seqs("porch/room") {
		seen[seq] = true
	}
	if n := len(br.seqs("porch/room")); n > 500 || len(seen) != 50 || br.conns != 1 {
		t.Errorf("%d copies of 50, %d of them, %d connections:\n%s", n, len(seen), br.conns, log)
	}
}
