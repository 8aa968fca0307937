package mqtt

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// TestAnAnswerBeforeAResetCounts: the broker answers SUBSCRIBE and resets the
// connection for what came behind it, as Mosquitto does for a publication that its
// access list denies. We are still writing then.
func TestAnAnswerBeforeAResetCounts(t *testing.T) {
	f := mqtttest.NewBroker(t, func(s *mqtttest.Conn) {
		if s.AcceptConnect() {
			p, _ := s.Next()
			s.Answer(p)
		}
	})
	defer f.Stop()
	d := NewDialer(Broker{ClientID: "porch", KeepAlive: 15 * time.Second,
		Servers: []*url.URL{{Scheme: "mqtt", Host: f.Listener.Addr().String()}}})
	for range 50 {
		conn, err := d.Dial(t.Context(), Message{})
		if err != nil {
			t.Fatal(err)
		}
		subscribed := conn.Subscribe("porch/room")
		for open := true; open; {
			conn.Publish(Message{Topic: "porch/room", Payload: []byte("1")})
			select {
			case <-conn.Done():
				open = false
			default:
			}
		}
		select {
		case <-subscribed.Done():
		case <-time.After(time.Minute):
			t.Error("the answer to SUBSCRIBE is lost")
		}
		if err := subscribed.Error(); err != nil {
			t.Errorf("the subscription: %v", err)
		}
		if err := conn.Err(); !errors.Is(err, ErrBrokerClosed) && !IsReset(err) {
			t.Errorf("the end: %v", err)
		}
		conn.Close()
	}
}
