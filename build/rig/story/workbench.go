package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/build/rig/guest"
	"github.com/holdfast-iot/holdfast/build/rig/i2csim"
)

// workbench is the story of sensors and time: a machine without the time, a meter, parts
// with kernel drivers, a bus on which no part answers, and the output of scan.
func (h *house) workbench(ctx context.Context, _ options) error {
	for _, act := range []func(context.Context) error{
		h.startsWithoutTime,
		h.clockIsSet,
		h.clockSteps,
		h.pulses,
		h.kernelDrives,
		h.kernelRebinds,
		h.busFails,
		h.scans,
		h.shutDown,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startsWithoutTime boots without the time and without a network; the agent is restarted
// after the clock was set to last week, as from a saved date. The door changes all the
// time.
func (h *house) startsWithoutTime(ctx context.Context) error {
	h.room.Set(21.5, 55)
	if err := h.bootAt(ctx, false, "1970-01-01T00:00:00"); err != nil {
		return err
	}
	if err := h.agentWatches(ctx); err != nil {
		return err
	}
	if err := h.toggleDoor(ctx, true, false); err != nil {
		return err
	}
	week := time.Now().Add(-7 * 24 * time.Hour).Unix()
	if err := h.must(ctx, fmt.Sprintf("date -s @%d >/dev/null && kill $(pidof holdfast)", week)); err != nil {
		return err
	}
	if _, err := h.machine.Wait(ctx, "rig: holdfast ended with status 0"); err != nil {
		return err
	}
	if err := h.agentWatches(ctx); err != nil {
		return err
	}
	return h.toggleDoor(ctx, true, false)
}

// toggleDoor changes the door several times, two seconds apart, so that changes can be told
// apart.
func (h *house) toggleDoor(ctx context.Context, opens ...bool) error {
	for _, open := range opens {
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		if err := h.setDoor(open); err != nil {
			return err
		}
	}
	return sleep(ctx, 2*time.Second)
}

// clockIsSet sets the clock, then plugs the cable in; everything that was measured before
// has to get its true time.
func (h *house) clockIsSet(ctx context.Context) error {
	if err := h.setTime(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, 2*time.Second); err != nil { // the agent checks once a second
		return err
	}
	if err := h.cable(true); err != nil {
		return err
	}
	moved := func(arrivals []broker.Arrival) bool { return len(changes(arrivals)) >= len(h.pressed) }
	h.check(h.within(ctx, 60*time.Second, moved), "the cable is in: %d changes of the door arrive", len(h.pressed))
	for i, r := range changes(h.recorder.Arrivals()) {
		if i < len(h.pressed) {
			off := r.taken().Sub(h.pressed[i].at)
			h.check(off.Abs() < late && r.Clock == "estimated", "%s: its time is right within %d ms, and is %s", r,
				off.Abs().Milliseconds(), r.Clock)
		}
	}
	drained := func(arrivals []broker.Arrival) bool {
		return len(only(of(readings(arrivals), humidity), func(r reading) bool { return r.Clock == "" })) > 3
	}
	h.check(h.within(ctx, 60*time.Second, drained), "then come readings whose time is trusted")
	all := first(readings(h.recorder.Arrivals()))
	wrong := only(all, func(r reading) bool {
		return r.taken().Before(h.began.Add(-late)) || r.taken().After(r.at.Add(late))
	})
	h.check(len(wrong) == 0, "of %d readings none is from another time than the story's %v", len(all), wrong)
	h.check(len(h.events("clock_step")) > 0, "the step is an event: %s", strings.Join(h.events("clock_step"), " "))
	return nil
}

// changes are the readings of the door except the first of each start, which has the
// initial state.
func changes(arrivals []broker.Arrival) []reading {
	return only(of(first(readings(arrivals)), door), func(r reading) bool { return r.Seq > 1 })
}

// clockSteps steps a trusted clock an hour forwards, and back.
func (h *house) clockSteps(ctx context.Context) error {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		before := len(h.events("clock_step"))
		if err := h.must(ctx, fmt.Sprintf("settime by %d", by.Milliseconds())); err != nil {
			return err
		}
		said := h.within(ctx, 20*time.Second, func([]broker.Arrival) bool {
			return len(h.events("clock_step")) > before
		})
		h.check(said, "a step of %v is an event", by)
		ahead := time.Duration(0)
		h.within(ctx, 20*time.Second, func(arrivals []broker.Arrival) bool {
			all := of(readings(arrivals), humidity)
			r := all[len(all)-1]
			ahead = r.taken().Sub(r.at).Round(time.Minute)
			return ahead == max(by, 0) && r.Clock == ""
		})
		h.check(ahead == max(by, 0), "and shows in ts, which is ahead by %v and trusted", ahead)
	}
	return nil
}

const (
	pulseCount  = 500
	pulseLength = 10 * time.Millisecond // equally long between two: 50 Hz at most
	pulseRounds = 3
	meterLine   = guest.DoorLine + 1
)

// pulses checks that a fast meter is counted without loss. If the host stalls the emulated
// processor for the length of two pulses, the kernel sees only one; so there are several
// rounds.
func (h *house) pulses(ctx context.Context) error {
	for range pulseRounds {
		before, began := h.counted(), time.Now()
		for range 2 * pulseCount {
			h.turned = !h.turned
			if err := h.machine.Pin(h.gpio, meterLine, h.turned); err != nil {
				return err
			}
			if err := sleep(ctx, pulseLength); err != nil {
				return err
			}
		}
		took := time.Since(began)
		all := h.within(ctx, 5*time.Second, func([]broker.Arrival) bool { return h.counted()-before >= pulseCount })
		if n := h.counted() - before; all && n == pulseCount {
			h.check(true, "%d pulses in %.1f s are counted as %v", pulseCount, took.Seconds(), n)
			return nil
		}
		h.note("%d pulses in %.1f s are counted as %v: once more", pulseCount, took.Seconds(), h.counted()-before)
	}
	h.check(false, "pulses are counted without loss in one of %d rounds", pulseRounds)
	return nil
}

// counted is the last value of the meter.
func (h *house) counted() (total float64) {
	for _, r := range of(readings(h.recorder.Arrivals()), meter) {
		if r.Value != nil {
			total = *r.Value
		}
	}
	return total
}

// kernelDrives binds a second BME280 to the kernel's own driver, which has to measure the
// same as ours.
func (h *house) kernelDrives(ctx context.Context) error {
	n := len(h.recorder.Arrivals())
	if err := h.must(ctx, "echo bme280 0x77 > /sys/bus/i2c/devices/i2c-$(cat /run/bus)/new_device"); err != nil {
		return err
	}
	h.arrives(ctx, n, "kernel_temperature", "the kernel's driver has 25.08 °C", func(r reading) bool {
		return r.is(25.08, 0.01) && r.Unit == "°C"
	})
	h.arrives(ctx, n, "kernel_humidity", "the kernel's driver has 55 %", func(r reading) bool {
		return r.is(55, 0.1) && r.Unit == "%"
	})
	h.arrives(ctx, n, "kernel_pressure", "the kernel's driver has 1006.53 hPa", func(r reading) bool {
		return r.is(1006.53, 0.05) && r.Unit == "hPa"
	})
	return nil
}

// kernelRebinds binds the kernel's driver to two parts again in another order, so that
// another part, which is warmer, gets the number iio:device0. The agent has to keep reading
// the part with the configured address.
func (h *house) kernelRebinds(ctx context.Context) error {
	const bind = "cd /sys/bus/i2c/devices/i2c-$(cat /run/bus) && "
	h.weather.Heat(true)
	n := len(h.recorder.Arrivals())
	// The agent is stopped meanwhile, so this happens between two of its reads.
	err := h.must(ctx, "kill -STOP $(pidof holdfast) && "+bind+
		"echo 0x77 > delete_device && echo bme280 0x76 > new_device && echo bme280 0x77 > new_device && "+
		"readlink -f /sys/bus/iio/devices/iio:device0 | grep -q 0076 && cd /")
	if err != nil {
		return err
	}
	warm, err := h.machine.Shell(ctx, "test $(cat /sys/bus/iio/devices/iio:device0/in_temp_input) -gt 40000")
	if err != nil {
		return err
	}
	if err := h.must(ctx, "kill -CONT $(pidof holdfast)"); err != nil {
		return err
	}
	h.check(warm, "iio:device0 is the other part, which is warm")
	const rounds = 3
	h.within(ctx, 30*time.Second, func(arrivals []broker.Arrival) bool {
		return len(only(of(readings(arrivals[n:]), "kernel_temperature"), func(r reading) bool {
			return r.is(25.08, 0.01)
		})) >= rounds
	})
	all := of(readings(h.recorder.Arrivals()[n:]), "kernel_temperature")
	right := only(all, func(r reading) bool { return r.is(25.08, 0.01) })
	failed := only(all, reading.failed)
	h.check(len(right) >= rounds && len(right)+len(failed) == len(all),
		"the drivers are bound in another order: of %d readings %d are right, %d failed and none is the other part's",
		len(all), len(right), len(failed))
	h.weather.Heat(false)
	return h.must(ctx, bind+"echo 0x76 > delete_device && cd /")
}

// busFails disconnects all parts of the bus for a while: every part has to report it once,
// the door has to work, and all parts have to come back.
func (h *house) busFails(ctx context.Context) error {
	n := len(h.recorder.Arrivals())
	for _, address := range []byte{i2csim.AHT20Address, i2csim.BME280Address} {
		h.bus.Silence(address, true)
	}
	h.arrives(ctx, n, humidity, "the bus is silent: the room", reading.failed)
	h.arrives(ctx, n, outside, "the bus is silent: the weather", reading.failed)
	m := len(h.recorder.Arrivals())
	if err := h.setDoor(!h.open); err != nil {
		return err
	}
	h.arrives(ctx, m, door, "the door is not held up", func(r reading) bool { return r.Value != nil })
	h.happens(ctx, "fault", "room", "weather")

	n = len(h.recorder.Arrivals())
	for _, address := range []byte{i2csim.AHT20Address, i2csim.BME280Address} {
		h.bus.Silence(address, false)
	}
	h.arrives(ctx, n, humidity, "the room is back", func(r reading) bool { return r.is(55, 0.2) })
	h.arrives(ctx, n, outside, "the weather is back", func(r reading) bool { return r.is(25.08, 0.01) })
	h.happens(ctx, "recovered", "room", "weather")
	return nil
}

// happens checks that there is an event for each of some sensors.
func (h *house) happens(ctx context.Context, event string, sensors ...string) {
	for _, sensor := range sensors {
		found := h.within(ctx, 30*time.Second, func([]broker.Arrival) bool {
			return strings.Contains(strings.Join(h.events(event), " "), `"sensor":"`+sensor+`"`)
		})
		h.check(found, "%s of %s is an event", event, sensor)
	}
}

// scans checks that the output of scan is a valid configuration, and lists all parts.
func (h *house) scans(ctx context.Context) error {
	for _, claim := range []struct{ says, command string }{
		{"what scan prints is a configuration",
			"(echo 'mqtt: {server: embedded}'; holdfast scan --yaml) | holdfast check -c -"},
		{"scan finds the AHT20", "holdfast scan | grep -i '0x38.*aht20'"},
		{"and the BME280 by its chip id", "holdfast scan | grep -i '0x76.*bme280'"},
		{"and leaves alone what the kernel drives", "holdfast scan | grep -i '0x77.*kernel.*bme\\|0x77.*bmp280'"},
		{"and knows that the door is held", "holdfast scan | grep -i 'GPIO17.*holdfast'"},
	} {
		ok, err := h.machine.Shell(ctx, claim.command)
		if err != nil {
			return err
		}
		h.check(ok, "%s", claim.says)
	}
	return nil
}

// setTime sets the machine's clock to the host's time, as an NTP client would.
func (h *house) setTime(ctx context.Context) error {
	return h.must(ctx, fmt.Sprintf("settime %d", time.Now().UnixMilli()))
}

// must runs a command in the machine that has to succeed.
func (h *house) must(ctx context.Context, command string) error {
	ok, err := h.machine.Shell(ctx, command)
	if err == nil && !ok {
		err = fmt.Errorf("%s failed", command)
	}
	return err
}

// events are the events of a kind that arrived.
func (h *house) events(kind string) (all []string) {
	for _, a := range h.recorder.Arrivals() {
		if a.Topic == clientID+"/agent/event" && strings.Contains(a.Payload, `"event":"`+kind+`"`) {
			all = append(all, a.Payload)
		}
	}
	return all
}

const meter = "meter_count"
