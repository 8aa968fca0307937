package main

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/build/rig/guest"
	"github.com/holdfast-iot/holdfast/build/rig/i2csim"
	"github.com/holdfast-iot/holdfast/build/rig/vm"
)

// clientID is that of guest/config.yaml.
const clientID = "rig"

// boot starts the machine with the present state of the door and the cable in or out, and
// waits until it has found its hardware.
func (h *house) boot(ctx context.Context, cable bool) error { return h.bootAt(ctx, cable, "") }

// bootAt is boot with a date for the real-time clock; empty: the host's date.
func (h *house) bootAt(ctx context.Context, cable bool, date string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var err error
	h.began = time.Now()
	if h.machine, err = vm.Start(ctx, h.qemu(date), h.console); err != nil {
		return err
	}
	if h.gpio, err = h.machine.Find(guest.GPIO); err != nil {
		return err
	}
	if err := h.machine.Pin(h.gpio, guest.DoorLine, h.open); err != nil {
		return err
	}
	if h.watch {
		if err := h.machine.Watch(h.gpio); err != nil {
			return err
		}
	}
	if err := h.cable(cable); err != nil {
		return err
	}
	if err := h.machine.Run(); err != nil {
		return err
	}
	found, err := h.machine.Wait(ctx, `rig: (ready, .*)`)
	if err != nil {
		return err
	}
	h.note("after %.1f s: %s", time.Since(h.began).Seconds(), found[1])
	return nil
}

// setDoor opens or closes the door.
func (h *house) setDoor(open bool) error {
	h.open = open
	h.pressed = append(h.pressed, press{open, time.Now()})
	return h.machine.Pin(h.gpio, guest.DoorLine, open)
}

// cable plugs the network cable in or pulls it.
func (h *house) cable(in bool) error { return h.machine.Link(guest.Card, in) }

// silence makes the sensor in the room stop answering, or answer again.
func (h *house) silence(silent bool) { h.bus.Silence(i2csim.AHT20Address, silent) }

// agentWatches waits until the agent holds the door's line, as the kernel reports it: this
// works without a network.
func (h *house) agentWatches(ctx context.Context) error { return h.agentHolds(ctx, 1) }

// agentHolds waits until the agent holds this many lines.
func (h *house) agentHolds(ctx context.Context, lines int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		holds, err := h.machine.Shell(ctx, fmt.Sprintf(
			`test $(ls -l /proc/$(pidof holdfast)/fd 2>/dev/null | grep -c gpio) -ge %d`, lines))
		if err != nil {
			return fmt.Errorf("wait for the agent to watch the door: %w", err)
		}
		if holds {
			return nil
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the agent to watch the door: %w", err)
		}
	}
}

// within waits until a condition holds for all arrivals.
func (h *house) within(ctx context.Context, d time.Duration, holds func([]broker.Arrival) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return h.recorder.Wait(ctx, holds)
}

// retained is the retained state of a stream, as a new subscriber gets it.
func (h *house) retained(ctx context.Context, stream string) (reading, error) {
	payload, err := broker.Retained(ctx, h.broker.Address, clientID+"/"+stream+"/state")
	return decode(stream, broker.Arrival{Payload: payload, At: time.Now()}), err
}

// status is the latest status of the agent.
func status(arrivals []broker.Arrival) (word string) {
	for _, a := range arrivals {
		if a.Topic == clientID+"/agent/status" {
			word = a.Payload
		}
	}
	return word
}

// statusIs is the condition that the agent has a status.
func statusIs(word string) func([]broker.Arrival) bool {
	return func(arrivals []broker.Arrival) bool { return status(arrivals) == word }
}
