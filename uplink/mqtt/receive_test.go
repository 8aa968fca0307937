package mqtt

import (
	"fmt"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A delivered message is one that the library hands out.
type delivered struct {
	paho.Message  // nil: what is not below is not asked for
	topic, text   string
	retained, dup bool
}

func (d delivered) Topic() string   { return d.topic }
func (d delivered) Payload() []byte { return []byte(d.text) }
func (d delivered) Retained() bool  { return d.retained }
func (d delivered) Duplicate() bool { return d.dup }

// TestAHandledMessageDoesNotWaitForTheSession: it is passed on with its flags, also when
// the session hears nothing, and takes no place of what the session is to hear.
func TestAHandledMessageDoesNotWaitForTheSession(t *testing.T) {
	r := newReceiver()
	var got []string
	r.handle("porch/siren/set", func(m Message) {
		got = append(got, fmt.Sprint(m.Topic, " ", string(m.Payload), " ", m.Retain, " ", m.Repeated))
	})
	for range 2 * maxHeard {
		r.hear(nil, delivered{topic: "porch/agent/status", text: "online"})
	}
	r.hear(nil, delivered{topic: "porch/siren/set", text: "ON", retained: true})
	r.hear(nil, delivered{topic: "porch/siren/set", text: "OFF", dup: true})
	want := "[porch/siren/set ON true false porch/siren/set OFF false true]"
	if fmt.Sprint(got) != want || len(r.heard) != maxHeard {
		t.Errorf("handled %v, want %s; %d wait", got, want, len(r.heard))
	}
	select {
	case m := <-r.heard:
		if m.Topic != "porch/agent/status" {
			t.Errorf("the session hears %+v", m)
		}
	case <-time.After(time.Minute):
		t.Error("the session hears nothing")
	}
}
