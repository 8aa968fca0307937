package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/build/rig/guest"
	"github.com/holdfast-iot/holdfast/build/rig/vm"
)

// siren is the stream of the output, and maxOn its limit, as in guest/alarm.yaml.
const (
	siren      = "siren"
	maxOn      = 2 * time.Second
	alarmLines = 2 // lines that the agent holds: the door's and the siren's
)

// alarm is the story of a siren. QEMU monitors its line from before the first instruction,
// so even the shortest pulse is recorded.
func (h *house) alarm(ctx context.Context, o options) error {
	for _, act := range []func() error{
		func() error { return h.sirenBoots(ctx, true, "the first start") },
		func() error { return h.noSpuriousSiren(ctx, o.rounds) },
		func() error { return h.doorStartsSiren(ctx, o.rounds) },
		func() error { return h.sirenOffline(ctx) },
		func() error { return h.killedWhileOn(ctx, o.rounds/2) },
		func() error { return h.clockJumpsWhileOn(ctx) },
		func() error { return h.powerCutWhileOn(ctx) },
	} {
		if err := act(); err != nil {
			return err
		}
	}
	return h.shutDown(ctx)
}

// sirenChanges are the changes of the siren's line since edge number from. true is on: the
// line is active low.
func (h *house) sirenChanges(from int) (on []bool) {
	edges, _ := h.machine.Edges()
	for _, e := range edges[from:] {
		if e.Line == guest.SirenLine {
			on = append(on, !e.High)
		}
	}
	return on
}

// edges is the number of changes of all outputs so far.
func (h *house) edges() int {
	all, _ := h.machine.Edges()
	return len(all)
}

// sirenBoots boots with a closed door and checks that the siren is never on.
func (h *house) sirenBoots(ctx context.Context, cable bool, what string) error {
	h.watch, h.open = true, false
	if err := h.boot(ctx, cable); err != nil {
		return err
	}
	if err := h.agentHolds(ctx, alarmLines); err != nil {
		return err
	}
	h.check(!slices.Contains(h.sirenChanges(0), true), "%s: the siren is never on (%v)", what, h.sirenChanges(0))
	return nil
}

// noSpuriousSiren starts, stops, kills and reloads the agent, and checks that the siren's
// line never changes.
func (h *house) noSpuriousSiren(ctx context.Context, rounds int) error {
	from, count := h.edges(), map[string]int{}
	for range rounds {
		signal := []string{"TERM", "KILL", "HUP"}[h.random.IntN(3)]
		count[signal]++
		if err := h.must(ctx, "killall -"+signal+" holdfast"); err != nil {
			return err
		}
		if err := sleep(ctx, time.Duration(h.random.Int64N(int64(500*time.Millisecond)))); err != nil {
			return err
		}
		if err := h.agentHolds(ctx, alarmLines); err != nil {
			return err
		}
	}
	if err := sleep(ctx, 3*time.Second); err != nil { // so that the last start has read the door
		return err
	}
	changed := len(h.sirenChanges(from))
	h.check(changed == 0, "%v: %d changes of the siren's line without an order", count, changed)
	return nil
}

// doorStartsSiren opens the door repeatedly while other readings are published: each time
// the siren has to be on, and off after its limit.
func (h *house) doorStartsSiren(ctx context.Context, rounds int) error {
	var late, off []time.Duration
	for range rounds {
		on, silent, err := h.opened(ctx)
		if err != nil {
			return err
		}
		late, off = append(late, on), append(off, silent-maxOn)
	}
	slices.Sort(late)
	h.check(len(late) == rounds, "the door was opened %d times, and the siren was on each time", rounds)
	h.note("from the edge of the door to that of the siren: p50 %.1f ms, p99 %.1f ms, debounce 5 ms included",
		ms(late[len(late)/2]), ms(late[len(late)*99/100]))
	h.checkDurations(off, "it is off after max_on")
	return nil
}

// checkDurations checks differences between measured times and max_on: half of them are
// within 100 ms. A busy host sometimes stalls the emulated processor, so the others may
// take a second.
func (h *house) checkDurations(off []time.Duration, what string) {
	slices.SortFunc(off, func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) })
	near := 0
	for _, d := range off {
		if d.Abs() <= 100*time.Millisecond {
			near++
		}
	}
	h.check(near >= (len(off)+1)/2 && off[len(off)-1].Abs() < time.Second,
		"%s: within 100 ms in %d of %d, %.0f ms at worst", what, near, len(off), ms(off[len(off)-1]))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// opened opens the door, waits until the siren was on and is off again, and closes it. It
// returns the time from the door to the siren, and how long the siren was on.
func (h *house) opened(ctx context.Context) (on, silent time.Duration, err error) {
	first, began, err := h.sound(ctx)
	if err != nil {
		return 0, 0, err
	}
	on = began.At.Sub(h.pressed[len(h.pressed)-1].at)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, ended, err := h.machine.WaitEdge(ctx, first, guest.SirenLine, true)
	if err != nil {
		return 0, 0, err
	}
	return on, ended.At.Sub(began.At), h.closeDoor(ctx)
}

// sound opens the door and waits until the siren is on.
func (h *house) sound(ctx context.Context) (int, vm.Edge, error) {
	from := h.edges()
	if err := h.setDoor(true); err != nil {
		return 0, vm.Edge{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return h.machine.WaitEdge(ctx, from, guest.SirenLine, false)
}

// closeDoor closes the door and gives the agent time to notice.
func (h *house) closeDoor(ctx context.Context) error {
	if err := h.setDoor(false); err != nil {
		return err
	}
	return sleep(ctx, 200*time.Millisecond)
}

// sirenOffline: with the cable out and a disk that takes half a second for each flush the
// siren is on without delay; its history arrives later with the times of measurement.
func (h *house) sirenOffline(ctx context.Context) error {
	if err := h.cable(false); err != nil {
		return err
	}
	h.disk.SetFlushTime(500 * time.Millisecond)
	defer h.disk.SetFlushTime(flushTakes)
	before := len(of(first(readings(h.recorder.Arrivals())), siren))
	var late []time.Duration
	for range 5 {
		on, _, err := h.opened(ctx)
		if err != nil {
			return err
		}
		late = append(late, on)
	}
	slices.Sort(late)
	h.note("with the cable out and fsync of 500 ms: %.1f ms at worst", ms(late[len(late)-1]))
	if err := h.cable(true); err != nil {
		return err
	}
	opened := h.pressed[len(h.pressed)-10:]
	return h.historyArrives(ctx, before, opened)
}

// historyArrives waits for both changes of each alarm, and compares their times with those
// of the door, relative to the first: the start time of the machine's clock is a whole
// second.
func (h *house) historyArrives(ctx context.Context, before int, opened []press) error {
	var changes []reading
	h.within(ctx, 45*time.Second, func(arrived []broker.Arrival) bool {
		changes = of(first(readings(arrived)), siren)[before:]
		return len(changes) >= len(opened)
	})
	if len(changes) < len(opened) {
		return fmt.Errorf("%d changes of the siren arrived for %d of the door", len(changes), len(opened))
	}
	right := 0
	for i, c := range changes[:len(opened)] {
		want := opened[i-i%2].at.Sub(opened[0].at) // max_on switches the siren off, not the door
		if i%2 == 1 {
			want += maxOn
		}
		took := c.taken().Sub(changes[0].taken())
		if c.State == []string{"on", "off"}[i%2] && (took-want).Abs() < time.Second && c.By != "" {
			right++
		}
	}
	h.check(right == len(opened), "%d of %d changes of the siren arrive with their own time and cause", right, len(opened))
	return nil
}

// killedWhileOn kills the agent while the siren is on. Then the init of the machine runs
// `holdfast outputs safe`, as the systemd unit does.
func (h *house) killedWhileOn(ctx context.Context, rounds int) error {
	var took []time.Duration
	for range rounds {
		i, _, err := h.sound(ctx)
		if err != nil {
			return err
		}
		if err := h.setDoor(false); err != nil {
			return err
		}
		killed := time.Now()
		if err := h.must(ctx, "killall -KILL holdfast"); err != nil {
			return err
		}
		off, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, e, err := h.machine.WaitEdge(off, i, guest.SirenLine, true)
		cancel()
		if err != nil {
			return err
		}
		took = append(took, e.At.Sub(killed))
		if err := h.agentHolds(ctx, alarmLines); err != nil {
			return err
		}
	}
	slices.Sort(took)
	h.check(len(took) == rounds && took[len(took)/2] <= time.Second,
		"killed while the siren sounds: off in %d of %d, after %.0f ms in the median, %.0f at worst", len(took), rounds,
		ms(took[len(took)/2]), ms(took[len(took)-1]))
	return nil
}

// clockJumpsWhileOn steps the machine's clock a year forwards and back while the siren is
// on. It has to be off after its limit.
func (h *house) clockJumpsWhileOn(ctx context.Context) error {
	var off []time.Duration
	for _, by := range []time.Duration{365 * 24 * time.Hour, 0} {
		first, began, err := h.sound(ctx)
		if err != nil {
			return err
		}
		if err := h.must(ctx, fmt.Sprintf("settime %d", time.Now().Add(by).UnixMilli())); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, ended, err := h.machine.WaitEdge(limited, first, guest.SirenLine, true)
		cancel()
		if err != nil {
			return err
		}
		off = append(off, ended.At.Sub(began.At)-maxOn)
		if err := h.closeDoor(ctx); err != nil {
			return err
		}
	}
	h.checkDurations(off, "the clock goes a year ahead, and back, while it sounds: off after max_on")
	return nil
}

// powerCutWhileOn cuts the power while the siren is on, and restores it.
func (h *house) powerCutWhileOn(ctx context.Context) error {
	if _, _, err := h.sound(ctx); err != nil {
		return err
	}
	if _, _, err := h.disk.Cut(0, h.random); err != nil {
		return err
	}
	h.machine.Kill()
	return h.sirenBoots(ctx, true, "after a power cut with the siren on")
}
