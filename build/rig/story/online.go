package main

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// Streams of guest/config.yaml.
const (
	door        = "door"
	humidity    = "room_humidity"
	temperature = "room_temperature"
	outside     = "weather_temperature"
	wetness     = "weather_humidity"
	pressure    = "weather_pressure"
)

// arrives checks that a reading that matches arrives, after the first n arrivals, and that
// the state has the same value.
func (h *house) arrives(ctx context.Context, n int, stream, what string, fits func(reading) bool) {
	began := time.Now()
	var found, state reading
	ok := h.within(ctx, 20*time.Second, func(arrivals []broker.Arrival) bool {
		arrivals = arrivals[n:]
		r := only(of(readings(arrivals), stream), fits)
		s := only(states(arrivals, stream), fits)
		if len(r) == 0 || len(s) == 0 {
			return false
		}
		found, state = r[0], s[0]
		return true
	})
	h.check(ok && !found.Historical && !state.Historical,
		"%s: reading and state after %d ms (%s)", what, time.Since(began).Milliseconds(), found)
}

// firstReadings boots the machine and checks that all streams arrive.
func (h *house) firstReadings(ctx context.Context) error {
	h.room.Set(21.5, 55)
	if err := h.boot(ctx, true); err != nil {
		return err
	}
	h.check(h.within(ctx, 30*time.Second, statusIs("online")), "%.1f s after power on the agent is online",
		time.Since(h.began).Seconds())
	h.arrives(ctx, 0, door, "the door is closed", func(r reading) bool { return r.is(0, 0) && r.State == "closed" })
	h.arrives(ctx, 0, humidity, "the room has 55 %", func(r reading) bool { return r.is(55, 0.2) && r.Unit == "%" })
	h.arrives(ctx, 0, temperature, "the room has 21.5 °C", func(r reading) bool {
		return r.is(21.5, 0.1) && r.Unit == "°C"
	})
	h.arrives(ctx, 0, outside, "outside are 25.08 °C", func(r reading) bool { return r.is(25.08, 0.01) })
	h.arrives(ctx, 0, wetness, "outside are 55 %", func(r reading) bool { return r.is(55, 0.1) })
	h.arrives(ctx, 0, pressure, "outside are 1006.53 hPa", func(r reading) bool {
		return r.is(1006.53, 0.02) && r.Unit == "hPa"
	})
	return nil
}

// doorChanges checks that each change of the door arrives.
func (h *house) doorChanges(ctx context.Context) error {
	for _, open := range []bool{true, false, true, false} {
		n := len(h.recorder.Arrivals())
		if err := h.setDoor(open); err != nil {
			return err
		}
		word, value := "closed", 0.0
		if open {
			word, value = "open", 1
		}
		h.arrives(ctx, n, door, "the door goes "+word, func(r reading) bool {
			return r.is(value, 0) && r.State == word
		})
	}
	return nil
}

// sensorFails disconnects a sensor and checks that there is one reading without a value,
// and no effect on other streams; then it connects the sensor again.
func (h *house) sensorFails(ctx context.Context) error {
	n := len(h.recorder.Arrivals())
	h.silence(true)
	h.arrives(ctx, n, humidity, "the humidity sensor does not answer", reading.failed)
	if err := sleep(ctx, 4*time.Second); err != nil { // four more attempts
		return err
	}
	failed := only(first(readings(h.recorder.Arrivals()[n:])), reading.failed)
	h.check(len(of(failed, humidity)) == 1 && len(of(failed, temperature)) == 1 && len(failed) == 2,
		"that is said once for each of its streams (%v)", failed)

	n = len(h.recorder.Arrivals())
	h.room.Set(18.25, 40)
	h.silence(false)
	h.arrives(ctx, n, humidity, "the humidity sensor answers again", func(r reading) bool { return r.is(40, 0.2) })
	return nil
}
