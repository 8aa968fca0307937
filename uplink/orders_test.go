package uplink

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/command"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A doer notes the orders that were to be done, and does them unless it says why not.
type doer struct {
	mu   sync.Mutex
	done []command.Order
	why  string
}

func (d *doer) do(o command.Order, answer func(done bool, why string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, o)
	why := d.why
	go answer(why == "", why)
}

func (d *doer) count() int { d.mu.Lock(); defer d.mu.Unlock(); return len(d.done) }

// takingOrders makes a link take orders to a siren and the alarm panel.
func takingOrders(d *doer, more ...func(*Options)) func(*Options) {
	return func(o *Options) {
		o.Commands = Commands{Outputs: []string{"siren"}, Alarm: true, MaxAge: 30 * time.Second, Do: d.do}
		for _, m := range more {
			m(o)
		}
	}
}

// An orderAnswer is a command event.
type orderAnswer struct {
	Event, ID, Output, Result, Why string
	Count                          int
}

// answers are the command events that arrived.
func (b *broker) answers() (all []orderAnswer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		var a orderAnswer
		if m.Topic == "porch/agent/event" && json.Unmarshal(m.Payload, &a) == nil && a.Event == "command" {
			all = append(all, a)
		}
	}
	return all
}

// wantAnswers compares results with the word that the reason begins with.
func wantAnswers(t *testing.T, br *broker, want ...string) {
	t.Helper()
	var got []string
	for _, a := range br.answers() {
		word, _, _ := strings.Cut(a.Why, ":")
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", a.Output, a.ID, a.Result, word)))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("answers:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOrdersAreDoneAndAnswered(t *testing.T) {
	d := &doer{}
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.sends("porch/siren/set", `{"state":"ON","for":"30s","id":"a1"}`)
		time.Sleep(time.Second)
		br.sends("porch/siren/set", `{"state":"ON","for":"30s","id":"a1"}`)
		time.Sleep(time.Second)
		br.sends("porch/siren/set", "loud")
		time.Sleep(time.Second)
		d.mu.Lock()
		d.why = "rest"
		d.mu.Unlock()
		br.sends("porch/siren/set", "ON")
		time.Sleep(time.Second)
		br.sends("porch/alarm/set", `{"action":"DISARM","code":"471147","id":"c"}`)
		time.Sleep(time.Second)
		br.sends("porch/pump/set", "ON") // which takes none
		time.Sleep(10 * time.Second)
	}, takingOrders(d))
	wantAnswers(t, br, "siren a1 done", "siren a1 duplicate done", "siren  refused not understood", "siren  refused rest",
		"alarm c refused rest")
	if d.count() != 3 || d.done[0].For != 30*time.Second || d.done[2].Code != "471147" {
		t.Errorf("done: %+v", d.done)
	}
	for _, m := range br.got {
		if strings.Contains(string(m.Payload), "471147") {
			t.Errorf("the code was published on %s", m.Topic)
		}
	}
	if strings.Contains(log, "471147") {
		t.Errorf("the code was logged:\n%s", log)
	}
}

// TestDeletingARetainedOrderIsNoOrder: what the refusal asks for is not refused in turn.
func TestDeletingARetainedOrderIsNoOrder(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(3 * time.Second)
		br.says("porch/siren/set", "")
		br.sends("porch/siren/set", "OFF")
		time.Sleep(time.Second)
	}, takingOrders(&doer{}))
	wantAnswers(t, br, "siren  done")
}

// TestARetainedOrderIsRefusedAtEachConnect: it is answered each time, and stays with the
// broker.
func TestARetainedOrderIsRefusedAtEachConnect(t *testing.T) {
	d := &doer{}
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.retained["porch/siren/set"] = "ON" })
		for range 10 {
			time.Sleep(time.Minute)
			br.cut()
		}
		time.Sleep(time.Minute)
	}, takingOrders(d))
	if n := len(br.answers()); n != br.conns || br.conns < 10 {
		t.Errorf("%d answers in %d connections: %+v", n, br.conns, br.answers())
	}
	if d.count() != 0 || br.kept("porch/siren/set") != "ON" {
		t.Errorf("%d orders were done; retained is %q", d.count(), br.kept("porch/siren/set"))
	}
}

func TestWithoutCommandsNoOrderIsAccepted(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.set(func() {
			for topic := range br.conn.topics {
				if strings.HasSuffix(topic, "/set") {
					t.Errorf("subscribed to %s", topic)
				}
			}
		})
	})
}

// TestADeniedSubscriptionShowsInHealth, and the session goes on.
func TestADeniedSubscriptionShowsInHealth(t *testing.T) {
	d := &doer{}
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.secret = "porch/siren/set" })
		bl.put(reading("room", 1))
		time.Sleep(time.Minute)
		if why := l.Status().NoOrders; !strings.Contains(why, "porch/siren/set") {
			t.Errorf("the status says %q", why)
		}
		if kept := br.kept("porch/agent/health"); !strings.Contains(kept, `"commands":"denied"`) {
			t.Errorf("health is %s", kept)
		}
		br.sends("porch/alarm/set", "ARM_AWAY")
		time.Sleep(time.Minute)
		br.set(func() { br.secret = "" })
		br.cut()
		time.Sleep(time.Minute)
		if kept := br.kept("porch/agent/health"); strings.Contains(kept, "commands") || l.Status().NoOrders != "" {
			t.Errorf("health is %s when it is granted", kept)
		}
		br.cut()
		time.Sleep(time.Minute)
	}, takingOrders(d))
	wantAnswers(t, br, "alarm  done")
	if br.conns != 3 || len(br.seqs("porch/room")) != 1 || strings.Count(log, "no orders come") != 1 {
		t.Errorf("%d connections, readings %d, log:\n%s", br.conns, br.seqs("porch/room"), log)
	}
}

func TestOrdersAreAcceptedWithoutProof(t *testing.T) {
	d := &doer{}
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.sends("porch/siren/set", "ON")
		time.Sleep(time.Minute)
	}, takingOrders(d, func(o *Options) { o.NoProof = true }))
	wantAnswers(t, br, "siren  done")
}

// TestAFloodOfOrdersLeavesTheQueueToReadings: what is refused is counted, and an alarm
// arrives within its usual time.
func TestAFloodOfOrdersLeavesTheQueueToReadings(t *testing.T) {
	d := &doer{}
	const seconds, rate = 20, 10_000
	var late time.Duration
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		var alarmed time.Time
		for i := range seconds * rate {
			br.sends("porch/siren/set", `{"state":"ON"}`)
			if time.Sleep(time.Second / rate); i == seconds*rate/2 {
				r := reading("door", 1)
				r.Priority = 1
				alarmed = time.Now()
				bl.put(r)
				go func() {
					for len(br.seqs("porch/door")) == 0 {
						time.Sleep(time.Millisecond)
					}
					late = time.Since(alarmed)
				}()
			}
		}
		time.Sleep(2 * time.Minute)
	}, takingOrders(d))
	answered, events := 0, br.answers()
	for _, a := range events {
		answered += max(a.Count, 1)
	}
	if answered != seconds*rate {
		t.Errorf("%d orders of %d are accounted for", answered, seconds*rate)
	}
	if refused := len(events) - d.count(); refused > refusalBurst+10 {
		t.Errorf("%d events of what was refused", refused)
	}
	if late > 2*roundTrip {
		t.Errorf("the alarm took %v", late)
	}
}

// TestAnOrderDoesNotWaitForASession that is draining on a thin link.
func TestAnOrderDoesNotWaitForASession(t *testing.T) {
	d := &doer{}
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.set(func() { br.rate = 2000 })
		for seq := range uint64(2000) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(time.Second)
		br.sends("porch/siren/set", "ON")
		if d.count() != 1 || bl.left() < 1000 {
			t.Errorf("%d orders were done when it came, %d readings wait", d.count(), bl.left())
		}
	}, takingOrders(d))
}

func TestAKeyThatCannotBeReadRefusesOrders(t *testing.T) {
	d, name := &doer{}, filepath.Join(t.TempDir(), "orders.key")
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.sends("porch/siren/set", "ON")
		if kept := br.kept("porch/agent/health"); !strings.Contains(kept, `"commands":"no key"`) {
			t.Errorf("health is %s", kept)
		}
		if err := os.WriteFile(name, []byte("open sesame\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		br.cut()
		time.Sleep(time.Minute)
		br.sends("porch/siren/set", "ON")
		time.Sleep(time.Minute)
	}, takingOrders(d, func(o *Options) { o.Commands.Key = mqtt.Secret{File: name, Key: "commands.key_file"} }))
	wantAnswers(t, br, "siren  refused key", "siren  refused mac")
	if !strings.Contains(log, "commands.key_file") || strings.Contains(log, "sesame") {
		t.Errorf("log:\n%s", log)
	}
}

// TestAnOrderThatTheBrokerKeptIsNotDone: it goes on with the session of MQTT 5 after a cut, and
// sends what came meanwhile as soon as we are back.
func TestAnOrderThatTheBrokerKeptIsNotDone(t *testing.T) {
	d := &doer{}
	br, _ := upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5}}, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.set(func() { br.facts.Resumed, br.conns = true, 0 })
		br.cut()
		for br.connections() == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond) // the handlers are there, and the subscription is not granted
		br.set(func() {
			br.conn.handlers["porch/siren/set"](mqtt.Message{Payload: []byte(`{"state":"ON","id":"a1"}`)})
			br.conn.heard <- mqtt.Message{Topic: "porch/siren/set", Payload: []byte(`{"state":"ON","id":"early"}`)}
		})
		time.Sleep(time.Minute)
	}, takingOrders(d))
	wantAnswers(t, br, "siren a1 refused unsure", "siren early refused unsure")
	if n := d.count(); n > 0 {
		t.Errorf("%d orders were done", n)
	}
}
