package mqtt

import (
	"fmt"
	"testing"
	"time"
)

// TestAHandledMessageDoesNotWaitForTheSession: it is passed on with its flags, also when
// the session hears nothing, and takes no place of what the session is to hear.
func TestAHandledMessageDoesNotWaitForTheSession(t *testing.T) {
	r := newReceiver()
	var got []string
	r.handle("porch/siren/set", func(m Message) {
		got = append(got, fmt.Sprint(m.Topic, " ", string(m.Payload), " ", m.Retain, " ", m.Repeated))
	})
	for range 2 * maxHeard {
		r.hear(Message{Topic: "porch/agent/status", Payload: []byte("online")})
	}
	r.hear(Message{Topic: "porch/siren/set", Payload: []byte("ON"), Retain: true})
	r.hear(Message{Topic: "porch/siren/set", Payload: []byte("OFF"), Repeated: true})
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
