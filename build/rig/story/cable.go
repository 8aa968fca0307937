package main

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// breaks is how long the cable is out while the power stays on: long enough for the agent
// to notice (keepalive: 5s, and the time limit of an answer), and for a reading to become
// historical (10 s).
const breaks = 22 * time.Second

// cableBreaks pulls the cable for a while. Meanwhile the broker publishes the agent's will;
// after the cable is back the changes of the door arrive, marked as historical.
func (h *house) cableBreaks(ctx context.Context) error {
	n := len(h.recorder.Arrivals())
	if err := h.cable(false); err != nil {
		return err
	}
	began := time.Now()
	for _, open := range []bool{true, false} {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		if err := h.setDoor(open); err != nil {
			return err
		}
	}
	h.check(h.within(ctx, breaks, statusIs("offline")), "the will says offline %.1f s after the cable is out",
		time.Since(began).Seconds())
	if err := sleep(ctx, time.Until(began.Add(breaks))); err != nil {
		return err
	}
	return h.cableMended(ctx, n)
}

func (h *house) cableMended(ctx context.Context, n int) error {
	if err := h.cable(true); err != nil {
		return err
	}
	began := time.Now()
	var said string
	arrived := h.within(ctx, 45*time.Second, func(arrivals []broker.Arrival) bool {
		copies := of(readings(arrivals[n:]), door)
		said = words(first(copies))
		// a copy from before the outage may still have been in a buffer
		late := only(copies, func(r reading) bool { return r.Historical })
		return said == "open closed" && words(first(late)) == said && statusIs("online")(arrivals)
	})
	h.check(arrived, "%.1f s after the cable is in again the agent is online and has sent the history (%s)",
		time.Since(began).Seconds(), said)
	return nil
}
