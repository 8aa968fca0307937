package main

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// An outage is the state of the steps during which no reading arrives.
type outage struct {
	boot   string        // of the agent before the power cut
	cut    time.Time     // the time of the power cut
	skew   time.Duration // of the machine's clock, including the delay of a reading
	before int           // number of readings that arrived before
}

// cableOut pulls the cable and changes the door three times.
func (h *house) cableOut(ctx context.Context, d *outage) error {
	seen := of(first(readings(h.recorder.Arrivals())), door)
	if len(seen) < len(h.pressed) || len(h.pressed) == 0 {
		return fmt.Errorf("%d readings of the door for %d changes", len(seen), len(h.pressed))
	}
	d.boot, d.skew = seen[0].Boot, h.skew(seen[len(seen)-len(h.pressed):])
	if err := h.cable(false); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil { // readings in flight arrive
		return err
	}
	d.before = len(readings(h.recorder.Arrivals()))
	for _, open := range []bool{true, false, true} {
		if err := sleep(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		if err := h.setDoor(open); err != nil {
			return err
		}
	}
	return sleep(ctx, 2*syncEvery) // routine readings become old enough to be on disk
}

// skew is the difference between the times of the readings and of the changes so far. It is
// the minimum, because the delay of the machine varies.
func (h *house) skew(seen []reading) time.Duration {
	skew := time.Hour
	for i, r := range seen {
		skew = min(skew, r.taken().Sub(h.pressed[i].at))
	}
	return skew
}

// syncEvery is that of guest/config.yaml.
const syncEvery = 2 * time.Second

// powerCut closes the door, and in the middle of the write it discards the disk's cache;
// then it kills the machine. In the other order QEMU could still flush at its end.
func (h *house) powerCut(ctx context.Context, d *outage, keep float64) error {
	h.check(len(readings(h.recorder.Arrivals())) == d.before, "without a network nothing arrives")
	if err := h.setDoor(false); err != nil {
		return err
	}
	h.writing()
	usage := h.disk.Usage()
	d.cut = time.Now()
	kept, lost, err := h.disk.Cut(keep, h.random)
	h.machine.Kill()
	h.note("power cut: of %d sectors not flushed %d kept, %d lost; %d writes and %d flushes so far",
		usage.Volatile, kept, lost, usage.Writes, usage.Flushes)
	return err
}

// writing waits until the disk has unflushed data, and then up to three flushes more,
// because a commit has several.
func (h *house) writing() {
	const noticed = 150 * time.Millisecond // limit for the door's reading, on a busy host
	for end := time.Now().Add(noticed); time.Now().Before(end) && h.disk.Usage().Volatile == 0; {
		time.Sleep(50 * time.Microsecond)
	}
	time.Sleep(time.Duration(h.random.Int64N(int64(3 * flushTakes))))
}

// restartOffline boots the machine without a network and changes the door once more.
func (h *house) restartOffline(ctx context.Context) error {
	if err := h.boot(ctx, false); err != nil {
		return err
	}
	if err := h.agentWatches(ctx); err != nil {
		return err
	}
	// The agent first reports the present level; this takes long on a busy host.
	if err := sleep(ctx, 4*time.Second); err != nil {
		return err
	}
	if err := h.setDoor(true); err != nil {
		return err
	}
	return sleep(ctx, 3*time.Second)
}

// cableIn plugs the cable in and waits for the backlog. It is sent oldest first, alarms
// before routine readings.
func (h *house) cableIn(ctx context.Context, d *outage) error {
	if err := h.cable(true); err != nil {
		return err
	}
	began := time.Now()
	later := func(stream string, fits func(reading) bool) func([]broker.Arrival) bool {
		return func(arrivals []broker.Arrival) bool {
			all := of(fresh(readings(arrivals), d.before), stream)
			return len(only(all, func(r reading) bool { return r.Boot != d.boot && fits(r) })) > 0
		}
	}
	opened := later(door, func(r reading) bool { return r.State == "open" })
	h.check(h.within(ctx, 45*time.Second, opened), "the cable is in: the last change of the door arrives after %.1f s",
		time.Since(began).Seconds())
	// routine readings follow the alarms, and those of the second start follow those of the first
	measured := later(humidity, func(r reading) bool { return r.Value != nil })
	h.check(h.within(ctx, 30*time.Second, measured), "and the rest of the backlog after %.1f s",
		time.Since(began).Seconds())
	return sleep(ctx, time.Second)
}
