package broker

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// welcome allows everything to every client. The library's own hook for that needs another
// module.
type welcome struct{ mochi.HookBase }

func (welcome) Provides(hook byte) bool {
	return hook == mochi.OnConnectAuthenticate || hook == mochi.OnACLCheck
}
func (welcome) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (welcome) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

// serve is a broker in this process.
func serve(t *testing.T) (*mochi.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	s.AddHook(&welcome{}, nil)
	s.AddListener(listeners.NewNet("loopback", l))
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, l.Addr().String()
}

func TestRecorderKeepsOrderAndRetainFlag(t *testing.T) {
	s, address := serve(t)
	s.Publish("rig/door/state", []byte("closed"), true, 1)
	r, err := Record(address, "rig-test", "rig/#")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.Wait(ctx, func(a []Arrival) bool { return len(a) == 1 }) // the broker answers before it sends retained messages
	s.Publish("rig/door", []byte("open"), false, 1)
	if !r.Wait(ctx, func(a []Arrival) bool { return len(a) == 2 }) {
		t.Fatalf("arrivals %+v, want two", r.Arrivals())
	}
	first, second := r.Arrivals()[0], r.Arrivals()[1]
	if first.Payload != "closed" || !first.Retained {
		t.Errorf("first %+v, want what the broker kept", first)
	}
	if second.Topic != "rig/door" || second.Retained {
		t.Errorf("second %+v, want the live one", second)
	}
}

func TestRetainedReturnsTheRetainedMessage(t *testing.T) {
	s, address := serve(t)
	for _, state := range []string{"open", "closed"} {
		s.Publish("rig/door/state", []byte(state), true, 1)
		if got, err := Retained(t.Context(), address, "rig/door/state"); got != state || err != nil {
			t.Errorf("retained %q, %v; want %q", got, err, state)
		}
	}
}
