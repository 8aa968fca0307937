package main

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// A dark is what happened while nobody could see it.
type dark struct {
	boot   string        // of the agent that saw it
	cut    time.Time     // of the power
	skew   time.Duration // of the machine's clock, and what a change takes to be noticed
	before int           // arrivals until then
}

// cableOut: the door moves three times in the dark.
func (h *house) cableOut(ctx context.Context, d *dark) error {
	seen := of(first(readings(h.recorder.Arrivals())), door)
	if len(seen) < len(h.pressed) || len(h.pressed) == 0 {
		return fmt.Errorf("%d readings of the door for %d changes", len(seen), len(h.pressed))
	}
	d.boot, d.skew = seen[0].Boot, h.skew(seen[len(seen)-len(h.pressed):])
	if err := h.cable(false); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil { // what was on its way arrives
		return err
	}
	d.before = len(readings(h.recorder.Arrivals()))
	for _, open := range []bool{true, false, true} {
		if err := sleep(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		if err := h.swing(open); err != nil {
			return err
		}
	}
	return sleep(ctx, 2*syncEvery) // routine readings become old enough to be on disk
}

// skew is how far the readings of all changes so far are behind them, or before:
// the least, as the rest is what the machine was late on top.
func (h *house) skew(seen []reading) time.Duration {
	skew := time.Hour
	for i, r := range seen {
		skew = min(skew, r.taken().Sub(h.pressed[i].at))
	}
	return skew
}

// syncEvery is what guest/config.yaml says.
const syncEvery = 2 * time.Second

// powerCut: the door closes, and in the middle of the write the disk loses its
// cache; then the machine goes. The other way around QEMU could still flush on its
// way out.
func (h *house) powerCut(ctx context.Context, d *dark, keep float64) error {
	h.check(len(readings(h.recorder.Arrivals())) == d.before, "in the dark nothing arrives")
	if err := h.swing(false); err != nil {
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

// writing waits until the disk has something to lose, and up to three
// flushes more: a commit takes some.
func (h *house) writing() {
	const noticed = 150 * time.Millisecond // a change of the door, on a busy host
	for end := time.Now().Add(noticed); time.Now().Before(end) && h.disk.Usage().Volatile == 0; {
		time.Sleep(50 * time.Microsecond)
	}
	time.Sleep(time.Duration(h.random.Int64N(int64(3 * flushTakes))))
}

// backInTheDark: the machine boots without a network and sees the door once more.
func (h *house) backInTheDark(ctx context.Context) error {
	if err := h.boot(ctx, false); err != nil {
		return err
	}
	if err := h.agentWatches(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, 4*time.Second); err != nil { // it reports the level that it finds, first, also on a busy host
		return err
	}
	if err := h.swing(true); err != nil {
		return err
	}
	return sleep(ctx, 3*time.Second)
}

// cableIn waits for what was kept. It comes oldest first, alarms before routine.
func (h *house) cableIn(ctx context.Context, d *dark) error {
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
	// routine readings are behind the alarms, and those of the second start behind the first's
	measured := later(humidity, func(r reading) bool { return r.Value != nil })
	h.check(h.within(ctx, 30*time.Second, measured), "and all that there was after %.1f s", time.Since(began).Seconds())
	return sleep(ctx, time.Second)
}
