package jetstream

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
)

// subject returns the subject of a topic, by the documentation of nats-server 2.15: "/" becomes ".", "."
// becomes "//", and an empty level becomes "/".
func subject(topic string) string {
	var b strings.Builder
	for i, c := range topic {
		soFar := b.String()
		switch {
		case c == '.':
			b.WriteString("//")
		case c != '/':
			b.WriteRune(c)
		case i == 0 || strings.HasSuffix(soFar, "."):
			b.WriteString("/.")
		case i == len(topic)-1 || topic[i+1] == '/':
			b.WriteString("./")
		default:
			b.WriteByte('.')
		}
	}
	return prefix + b.String()
}

func TestTopicsOfTheDocumentation(t *testing.T) {
	for in, want := range map[string]string{
		"$MQTT.msgs.porch.door":        "porch/door",
		"$MQTT.msgs.porch.agent.event": "porch/agent/event",
		"$MQTT.msgs./.sensors.temp":    "/sensors/temp",
		"$MQTT.msgs.sensors.temp./":    "sensors/temp/",
		"$MQTT.msgs.store//12.door":    "store.12/door",
		"$MQTT.msgs.":                  "",
	} {
		if got := topic(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// FuzzTopic: the topic of any subject has no "$MQTT" left and is not longer than it,
// and the topics of agents are converted back without a change.
func FuzzTopic(f *testing.F) {
	for _, seed := range []string{"porch/door", "porch/agent/event", "store.12/a.b", "/", "a/", "..", "./.", "ä/ö"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := topic(text); len(got) > len(text) {
			t.Errorf("%q becomes %q", text, got)
		}
		levels := strings.Split(text, "/")
		for _, l := range levels {
			if l == "" || strings.HasPrefix(l, ".") || strings.HasSuffix(l, ".") {
				return // the server's own conversion is not reversible there
			}
		}
		if got := topic(subject(text)); got != text {
			t.Errorf("%q comes back as %q, by %q", text, got, subject(text))
		}
	})
}

func TestLongPayloadIsCut(t *testing.T) {
	c := Conn{options: Options{MaxPayload: 8, MaxKept: 3}}
	if m := c.message(prefix+"porch.hum", []byte("123456789"), "r"); string(m.Payload) != "123" || m.Size != 9 {
		t.Errorf("got %+v", m)
	}
	if m := c.message(prefix+"porch.hum", []byte("12345678"), "r"); string(m.Payload) != "12345678" || m.Size != 8 ||
		m.Topic != "porch/hum" || m.Reply != "r" {
		t.Errorf("got %+v", m)
	}
}

func TestOldUnackedMessagesAreExtended(t *testing.T) {
	c := Conn{unacked: map[string]time.Time{}}
	c.track("a")
	now := time.Now()
	if got := c.due(now); len(got) != 0 {
		t.Errorf("at once: %v", got)
	}
	now = now.Add(ackWait/3 + time.Second)
	if got := c.due(now); len(got) != 1 || got[0] != "a" {
		t.Errorf("after a third: %v", got)
	}
	if got := c.due(now); len(got) != 0 {
		t.Errorf("twice: %v", got)
	}
	c.Acknowledge([]subscribe.Message{{}}) // a heartbeat has no reply, and changes nothing
	if got := c.due(now.Add(ackWait)); len(got) != 1 {
		t.Errorf("later: %v", got)
	}
}
