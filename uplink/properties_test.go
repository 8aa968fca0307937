package uplink

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/command"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// TestWhatIsRetainedExpires, but for what says that the agent is online; and a state that
// is true still is published again before.
func TestWhatIsRetainedExpires(t *testing.T) {
	br, _ := by5(t, nil, func(l *Link, br *broker, bl *backlog) {
		l.Observe(reading("room", 1))
		bl.put(reading("room", 1))
		time.Sleep(stateExpiry)
	})
	states := 0
	for _, m := range br.got {
		expiry := uint32(0)
		if m.Properties != nil {
			expiry = m.Properties.Expiry
		}
		want := uint32(0)
		switch {
		case strings.HasSuffix(m.Topic, "/state"):
			want = 7200
			states++
		case m.Topic == "porch/agent/health":
			want = 180
		}
		if expiry != want {
			t.Errorf("%s expires after %d s, want %d", m.Topic, expiry, want)
		}
	}
	if states < 3 { // at first, for the stream without a reading, and again
		t.Errorf("%d states in two hours", states)
	}
}

// TestReadingsHaveTheConfiguredUserProperties.
func TestReadingsHaveTheConfiguredUserProperties(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		br, _ := upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5}}, func(l *Link, br *broker, bl *backlog) {
			bl.put(reading("room", 7))
			time.Sleep(time.Second)
		}, func(o *Options) { o.Properties, o.Boot = wanted, "" })
		for _, m := range br.got {
			if m.Topic != "porch/room" {
				continue
			}
			if m.Properties == nil != !wanted {
				t.Fatalf("wanted %v: %+v", wanted, m.Properties)
			}
			if wanted && (m.Properties.Expiry != 0 || len(m.Properties.User) != 2 ||
				m.Properties.User[1] != (mqtt.UserProperty{Name: "seq", Value: "7"})) {
				t.Errorf("properties %+v", m.Properties)
			}
		}
		if len(br.seqs("porch/room")) != 1 {
			t.Error("it did not arrive")
		}
	}
}

// TestOrdersAreSubscribedWithoutRetainedAndOwnMessages: of orders and of Home Assistant, but our
// own will and birth have to come.
func TestOrdersAreSubscribedWithoutRetainedAndOwnMessages(t *testing.T) {
	br, _ := upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5}}, func(*Link, *broker, *backlog) {
		time.Sleep(time.Second)
	}, func(o *Options) {
		o.HomeAssistant = HomeAssistant{Discovery: true, Prefix: "homeassistant"}
		o.Commands = Commands{Outputs: []string{"siren"}, MaxAge: time.Minute,
			Do: func(_ command.Order, answer func(bool, string)) { answer(true, "") }}
	})
	slices.Sort(br.live)
	if want := []string{"homeassistant/status", "porch/siren/set"}; !slices.Equal(br.live, want) {
		t.Errorf("live: %v, want %v", br.live, want)
	}
}

// TestOrderAnswerGoesToTheResponseTopic, and not to a topic in our name.
func TestOrderAnswerGoesToTheResponseTopic(t *testing.T) {
	request := func(topic string) *mqtt.Properties {
		return &mqtt.Properties{ResponseTopic: topic, Correlation: []byte{7, 0}}
	}
	br, _ := upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5}}, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(5 * time.Second)
		for _, topic := range []string{"panel/answers", "porch/room", "a/#", "$SYS/x", "", strings.Repeat("x", 300),
			"site/porch/room", "now/porch/door", "homeassistant/device/porch/config"} {
			br.set(func() {
				br.conn.handlers["porch/siren/set"](mqtt.Message{Topic: "porch/siren/set", Payload: []byte("ON"),
					Properties: request(topic)})
			})
			time.Sleep(5 * time.Second)
		}
	}, func(o *Options) {
		o.Topics = payload.Patterns{Reading: "site/{client_id}/{stream}", State: "now/{client_id}/{stream}"}
		o.HomeAssistant.Prefix, o.HomeAssistant.Discovery = "homeassistant", true
		o.Commands = Commands{Outputs: []string{"siren"}, MaxAge: time.Minute,
			Do: func(_ command.Order, answer func(bool, string)) { answer(true, "") }}
	})
	answers := 0
	for _, m := range br.got {
		if strings.Contains(string(m.Payload), `"result":"done"`) && m.Topic != "porch/agent/event" {
			answers++
			if m.Topic != "panel/answers" || string(m.Payload) != `{"output":"siren","result":"done"}` || m.Retain ||
				m.Properties == nil || string(m.Properties.Correlation) != "\x07\x00" || m.Properties.Expiry != 60 {
				t.Errorf("%+v: %s", m, m.Payload)
			}
		}
	}
	if answers != 1 {
		t.Errorf("%d answers", answers)
	}
}

// TestAnswersToOrdersKeepToTheReceiveMaximum: more than the broker takes at a time are
// answered in one moment.
func TestAnswersToOrdersKeepToTheReceiveMaximum(t *testing.T) {
	br, _ := upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5, ReceiveMaximum: 3}},
		func(l *Link, br *broker, bl *backlog) {
			time.Sleep(5 * time.Second)
			br.set(func() {
				for range 12 {
					br.conn.handlers["porch/siren/set"](mqtt.Message{Payload: []byte("ON"),
						Properties: &mqtt.Properties{ResponseTopic: "panel/answers"}})
				}
			})
			time.Sleep(5 * time.Second)
		}, func(o *Options) {
			o.Commands = Commands{Outputs: []string{"siren"}, MaxAge: time.Minute,
				Do: func(_ command.Order, answer func(bool, string)) { answer(true, "") }}
		})
	answers := 0
	for _, m := range br.got {
		if m.Topic == "panel/answers" {
			answers++
		}
	}
	if answers != 12 || br.most > 3 {
		t.Errorf("%d answers, and %d messages in flight: the broker takes 3", answers, br.most)
	}
}

// TestAnAnswerThatIsTooOldIsNotSent: the order was done, and then the link was down for long.
func TestAnAnswerThatIsTooOldIsNotSent(t *testing.T) {
	r := responses{waiting: make(chan response, 2)}
	now := time.Now()
	r.waiting <- response{at: now.Add(-answerExpiry)}
	r.waiting <- response{mqtt.Message{Topic: "panel/answers"}, now}
	if next := r.peek(now); next == nil || next.Topic != "panel/answers" || r.arrived() != nil {
		t.Errorf("next is %+v", next)
	}
	if next := r.peek(now.Add(answerExpiry)); next != nil || r.arrived() == nil {
		t.Errorf("a minute later it is %+v", next)
	}
}

// TestFailedOfflineRequestsTheWill: the broker refuses "offline", or acknowledges
// nothing.
func TestFailedOfflineRequestsTheWill(t *testing.T) {
	br, _ := by5(t, nil, func(l *Link, br *broker, bl *backlog) {
		l.Observe(sensors.Reading{Stream: "room"})
		time.Sleep(time.Second)
		br.set(func() { br.acksNothing = true })
	})
	if br.orderly != 0 || br.disorderly != 1 {
		t.Errorf("%d ends in order, %d that ask for the will", br.orderly, br.disorderly)
	}
}
