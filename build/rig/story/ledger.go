package main

import (
	"context"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// doors checks the changes during the outage: all of them exist, in order, with their own
// times. The one at the moment of the power cut may be missing.
func (h *house) doors(d *outage, arrivals []broker.Arrival) {
	all := fresh(readings(arrivals), d.before)
	unseen := since(of(all, door), d.boot)
	said := words(unseen)
	h.check(said == "open closed open" || said == "open closed open closed",
		"the changes of the door during the outage arrive in order (%s)", said)
	swung := h.pressed[len(h.pressed)-5:] // four before the power cut, one after
	for i, r := range unseen[:min(len(unseen), 4)] {
		off := r.taken().Sub(swung[i].at) - d.skew
		h.check(off.Abs() < late, "%s: its time is right within %d ms", r, off.Abs().Milliseconds())
	}
	h.alarmsFirst(d, all)
	again := words(only(of(all, door), func(r reading) bool { return r.Boot != d.boot }))
	h.check(again == "closed open", "then the door at the second start and its change (%s)", again)
}

// alarmsFirst checks the order of the backlog of the first start.
func (h *house) alarmsFirst(d *outage, all []reading) {
	old := since(all, d.boot)
	alarms := len(of(old, door))
	first := of(old[:min(alarms, len(old))], door)
	h.check(len(first) == alarms, "of %d readings of the first start, the %d alarms come first", len(old), alarms)
	stale := only(old, func(r reading) bool { return r.Historical })
	h.check(len(stale) == len(old), "%d of them are historical", len(stale))
}

// late is how long an emulated machine may take to notice a change on a busy host. The time
// of sending would differ by the seconds until the cable was in.
const late = time.Second

// lost checks that a lying disk has lost readings of the door: otherwise the rig could not
// detect a loss.
func (h *house) lost(d *outage, arrivals []broker.Arrival) {
	unseen := since(of(fresh(readings(arrivals), d.before), door), d.boot)
	h.check(len(unseen) < 3, "the lying disk is detected: of 3 changes without a network %d arrive", len(unseen))
}

func words(all []reading) string {
	var words []string
	for _, r := range all {
		words = append(words, r.State)
	}
	return strings.Join(words, " ")
}

// numbers checks that no reading is missing, except routine ones from shortly before the
// power cut.
func (h *house) numbers(d *outage, arrivals []broker.Arrival) {
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

// slack allows for one measurement that was not due yet (every: 1s), and for the write
// itself on a slow machine.
const slack = 2 * time.Second

// present checks that new subscribers get the present states.
func (h *house) present(ctx context.Context, d *outage) {
	state, err := h.retained(ctx, door)
	h.check(err == nil && state.State == "open" && state.Boot != d.boot &&
		!state.Historical, "the retained state is the present one (%s)", state)
	h.check(statusIs("online")(h.recorder.Arrivals()), "the agent is online")
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
	h.check(!found, "the kernel logged no error")
	if _, err := h.machine.Shell(ctx, "touch /run/stop; killall -TERM holdfast"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	ended, err := h.machine.Wait(ctx, `rig: holdfast ended with status (\d+)`)
	if err != nil {
		return err
	}
	h.check(ended[1] == "0", "after SIGTERM the agent ends with status %s, without a restart before", ended[1])
	h.check(h.within(ctx, 5*time.Second, statusIs("offline")), "and publishes offline")
	return nil
}
