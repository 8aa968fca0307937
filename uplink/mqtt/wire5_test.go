package mqtt

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// read5 has a client of MQTT 5 read what a broker sends, to its end: after a SUBSCRIBE
// with packet ID 7 and a message with 9. It returns the two tokens, and why the connection
// was lost.
func read5(sent []byte) (subscribed, published *publication, why error) {
	c := &Conn{connCertificates: new(connCertificates), path: new(segments), lost: make(chan struct{}),
		received: newReceiver(), lookout: lookout{preferred: make(chan struct{})}}
	c.wire = newWire(&scripted{from: bytes.NewReader(sent)}, Limits{}, c.end)
	client := newClient5(c, Broker{ClientID: "porch", KeepAlive: 15 * time.Second}, "", Message{})
	c.protocol = client
	subscribed, published = &publication{box: &c.wire.outbox}, &publication{box: &c.wire.outbox}
	c.wire.expected[7], c.wire.five.requests[7] = packetSuback, request5{subscribed, "porch/agent/canary"}
	c.wire.flight.waiting[9] = published
	client.read()
	<-c.Done()
	c.Close()
	return subscribed, published, c.Err()
}

func TestClient5DecodesAllFormsOfAnswers(t *testing.T) {
	accepted := []byte{0x20, 3, 0, 0, 0}
	for _, c := range []struct {
		name                  string
		sent                  string
		subscribed, published string // the errors; empty: none
	}{
		{"short", "\x90\x04\x00\x07\x00\x01\x40\x02\x00\x09", "", ""},
		{"denied", "\x90\x04\x00\x07\x00\x87\x40\x03\x00\x09\x87", "refuses the subscription", "not authorised"},
		{"with a reason", "\x40\x08\x00\x09\x97\x04\x1f\x00\x01a\x90\x04\x00\x07\x00\x01", "", `it says "a"`},
		{"unheard", "\x90\x04\x00\x07\x00\x02\x40\x04\x00\x09\x10\x00", "", ""},
		{"no answers", "\xd0\x00", errNotAnswered.Error(), errNotAnswered.Error()},
	} {
		subscribed, published, _ := read5(append(accepted[:5:5], c.sent...))
		for want, token := range map[*string]*publication{&c.subscribed: subscribed, &c.published: published} {
			err := token.Error()
			if *want == "" && err != nil || *want != "" && (err == nil || !bytes.Contains([]byte(err.Error()),
				[]byte(*want))) {
				t.Errorf("%s: %v, want %q", c.name, err, *want)
			}
		}
	}
}

// FuzzWire5: whatever a broker of MQTT 5 sends, the client reads to the end of it or to
// what is wrong, says which, and leaves no message without an answer.
func FuzzWire5(f *testing.F) {
	accepted := []byte{0x20, 3, 0, 0, 0}
	for _, packet := range []string{"\x90\x04\x00\x07\x00\x01", "\x40\x02\x00\x09", "\x40\x03\x00\x09\x87",
		"\x40\x08\x00\x09\x97\x04\x1f\x00\x01a", "\x40\x04\x00\x09\x00\x05", "\xb0\x04\x00\x07\x00\x00",
		"\x30\x06\x00\x01t\x00hi", "\x32\x08\x00\x01t\x00\x01\x00hi", "\x34\x08\x00\x01t\x00\x01\x00hi",
		"\x30\x09\x00\x01t\x03\x23\x00\x01hi", "\x30\x08\x00\x00\x03\x23\x00\x01hi", "\x30\xff\xff\xff\x7f",
		"\x30\xff\xff\xff\xff\xff", "\xe0\x00", "\xe0\x80\x00",
		"\xe0\x01\x8e", "\xe0\x09\x9c\x07\x1c\x00\x04else", "\xd0\x00",
		"\xf0\x02\x18\x00", "\x30\x0b\x00\x01t\x05\x26\x00\x01k\x00\x00",
		"\x30\x0d\x00\x01t\x08\x08\x00\x01r\x09\x00\x01cx"} {
		f.Add(append(accepted[:5:5], packet...))
		f.Add([]byte(packet))
	}
	for _, connack := range []string{"\x20\x02\x00\x00", "\x20\x03\x00\x84\x00", "\x20\x06\x00\x00\x03\x21\x00\x00",
		"\x20\x09\x00\x00\x06\x21\x00\x01\x21\x00\x01", "\x20\x08\x00\x00\x05\x27\x00\x00\x00\x1e",
		"\x20\x05\x00\x00\x02\x24\x00", "\x20\x06\x00\x00\x03\x13\x00\x01", "\x20\x03\x00\x00\xff"} {
		f.Add([]byte(connack))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		subscribed, published, why := read5(sent)
		var wrong *ProtocolError
		var refused *RefusedError
		var ended *DisconnectError
		if !errors.Is(why, ErrBrokerClosed) && !errors.Is(why, errNoMQTT) && !errors.Is(why, errAnswer311) &&
			!errors.Is(why, ErrNoQoS1) && !errors.As(why, &wrong) && !errors.As(why, &refused) &&
			!errors.As(why, &ended) {
			t.Fatalf("% x: %v", sent, why)
		}
		if !subscribed.Answered() || !published.Answered() {
			t.Fatalf("% x, %v: a token waits for ever", sent, why)
		}
	})
}
