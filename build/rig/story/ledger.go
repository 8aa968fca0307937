package main

import (
	"context"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// doors checks the changes that nobody saw: all there, in order, with their own
// times. The one at the moment of the power cut may be there or not.
func (h *house) doors(d *dark, arrivals []broker.Arrival) {
	all := fresh(readings(arrivals), d.before)
	unseen := since(of(all, door), d.boot)
	said := words(unseen)
	h.check(said == "open closed open" || said == "open closed open closed",
		"what the door did in the dark arrives in order (%s)", said)
	swung := h.pressed[len(h.pressed)-5:] // four in the dark, one after
	for i, r := range unseen[:min(len(unseen), 4)] {
		off := r.taken().Sub(swung[i].at) - d.skew
		h.check(off.Abs() < late, "%s: its time is right within %d ms", r, off.Abs().Milliseconds())
	}
	h.alarmsFirst(d, all)
	again := words(only(of(all, door), func(r reading) bool { return r.Boot != d.boot }))
	h.check(again == "closed open", "then the door at the second start and its change (%s)", again)
}

// alarmsFirst checks what the backlog of the first start came as.
func (h *house) alarmsFirst(d *dark, all []reading) {
	old := since(all, d.boot)
	alarms := len(of(old, door))
	first := of(old[:min(alarms, len(old))], door)
	h.check(len(first) == alarms, "of %d readings of the first start, the %d alarms come first", len(old), alarms)
	stale := only(old, func(r reading) bool { return r.Historical })
	h.check(len(stale) == len(old), "%d of them are historical", len(stale))
}

// late is what an emulated machine may take to notice a change on a busy host.
// A time of sending would be off by the seconds until the cable was in.
const late = time.Second

// lost checks that a disk that lies has cost readings of the door: a rig that
// never sees a loss proves nothing.
func (h *house) lost(d *dark, arrivals []broker.Arrival) {
	unseen := since(of(fresh(readings(arrivals), d.before), door), d.boot)
	h.check(len(unseen) < 3, "the disk lied, and the rig sees it: of 3 changes in the dark %d arrive", len(unseen))
}

func words(all []reading) string {
	var words []string
	for _, r := range all {
		words = append(words, r.State)
	}
	return strings.Join(words, " ")
}

// numbers checks that no reading is missing, but for the routine ones of the last
// moments before the power was cut.
func (h *house) numbers(d *dark, arrivals []broker.Arrival) {
	all := readings(arrivals)
	unique := first(all)
	wrong := faults(unique)
	h.check(len(wrong) == 0, "%d readings, %d more than once, none missing in between%s", len(unique),
		len(all)-len(unique), prefixed(": ", strings.Join(wrong, "; ")))

	for _, stream := range []string{humidity, temperature, outside} {
		tail := since(of(unique, stream), d.boot)
		if len(tail) == 0 {
			h.check(false, "%s: nothing of the first start", stream)
			continue
		}
		short := d.cut.Add(d.skew).Sub(tail[len(tail)-1].taken())
		h.check(short < syncEvery+slack, "%s ends %.1f s before the power cut, sync_every is %v", stream,
			short.Seconds(), syncEvery)
	}
}

// slack is for one measurement that was not due yet (every: 1s), and for the write
// itself on a slow machine.
const slack = 2 * time.Second

// present checks that late subscribers see the present, not the past.
func (h *house) present(ctx context.Context, d *dark) {
	state, err := h.retained(ctx, door)
	h.check(err == nil && state.State == "open" && state.Boot != d.boot &&
		!state.Historical, "the retained state is the present one (%s)", state)
	h.check(says("online")(h.recorder.Arrivals()), "the agent is online")
	for _, a := range h.recorder.Arrivals() {
		if a.Topic == clientID+"/agent/event" {
			h.note("event %s", a.Payload)
		}
	}
}

// shutDown stops the agent as systemd would, and then the machine.
func (h *house) shutDown(ctx context.Context) error {
	found, err := h.machine.Shell(ctx, "dmesg | grep -E 'EXT4-fs error|Oops|I/O error'")
	if err != nil {
		return err
	}
	h.check(!found, "the kernel has nothing to complain about")
	if _, err := h.machine.Shell(ctx, "touch /run/stop; killall -TERM holdfast"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	ended, err := h.machine.Wait(ctx, `rig: holdfast ended with status (\d+)`)
	if err != nil {
		return err
	}
	h.check(ended[1] == "0", "asked to stop, the agent ends with status %s, for the first time", ended[1])
	h.check(h.within(ctx, 5*time.Second, says("offline")), "and publishes offline")
	return nil
}
