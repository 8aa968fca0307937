package main

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// TestEachPartTakesItsReadings runs the parts on this machine, to check that they do what
// is counted on ARMv6.
func TestEachPartTakesItsReadings(t *testing.T) {
	const n = 40
	for name, wantPublished := range map[string]int{"sample": 0, "put": 0, "encode": 0, "drain": n, "live": n - 1} {
		t.Run(name, func(t *testing.T) {
			broker := mqtttest.NewBroker(t, func(s *mqtttest.Conn) {
				if s.AcceptConnect() {
					s.Serve(nil)
				}
			})
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			l := life{n: n, dir: t.TempDir(), broker: broker.Listener.Addr().String(),
				clock: clock.NewTimekeeper(clock.TrustAlways)}
			err := parts[name](l, ctx)
			broker.Stop()
			if err != nil {
				t.Fatal(err)
			}
			if got := len(broker.Acked); got < wantPublished || wantPublished == 0 && got > 0 {
				t.Errorf("%d readings were acknowledged, want %d", got, wantPublished)
			}
		})
	}
}
