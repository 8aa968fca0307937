package sensors

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// TestStreamsOfASensor: the uplink announces each.
func TestStreamsOfASensor(t *testing.T) {
	alarm := Stream{Name: "room/humidity_alarm"}
	spec := Spec{Streams: []Stream{{Name: "room/humidity", Filter: Filter{Alarm: &Limit{Stream: alarm}}},
		{Name: "room/temperature"}}}
	var names []string
	for _, st := range spec.AllStreams() {
		names = append(names, st.Name)
	}
	if want := []string{"room/humidity", "room/humidity_alarm", "room/temperature"}; !slices.Equal(names, want) {
		t.Errorf("feeds %q, want %q", names, want)
	}
}

type silent struct{}

func (silent) Next(context.Context) ([]Sample, error) { return nil, nil }
func (silent) Close() error                           { return nil }

// TestEventSensorIsStableAfterSomeTime: one that is
// polled is stable after a good measurement.
func TestEventSensorIsStableAfterSomeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sampler{spec: &Spec{}, restart: &restart{}}
		s.restart.opened = time.Now()
		s.restart.worked = true
		if s.isStable(true) || s.failedSoon() {
			t.Error("a sensor that is not open is stable, or failed soon")
		}
		s.device = silent{}
		if s.isStable(true) || !s.failedSoon() {
			t.Error("just opened: it is not stable, and a failure now comes soon")
		}
		time.Sleep(stableTime)
		if !s.isStable(false) || s.failedSoon() {
			t.Errorf("open for %v: it is stable, and a failure now is not soon", stableTime)
		}
		s.restart.opened, s.restart.worked = time.Now(), false
		if s.failedSoon() {
			t.Error("it never worked: that is a failure of the opening")
		}
		s.spec.Every = time.Second
		if s.restart.worked = true; s.failedSoon() {
			t.Error("a polled sensor has no restarts")
		}
		if !s.isStable(true) || s.isStable(false) {
			t.Error("a polled sensor is stable when its measurement is good")
		}
	})
}

// TestMinusZeroIsPublishedAsZero: the queue's file does not distinguish them.
func TestMinusZeroIsPublishedAsZero(t *testing.T) {
	var got []Reading
	st := &stream{Stream: &Stream{Name: "room"}, record: func(r Reading) { got = append(got, r) }}
	st.emitValue(math.Copysign(0, -1), clock.Stamp{})
	if len(got) != 1 || math.Signbit(got[0].Value) {
		t.Errorf("%+v", got)
	}
}
