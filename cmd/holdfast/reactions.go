package main

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	orders "github.com/holdfast-iot/holdfast/uplink/command"
)

// reactions are what reacts to readings without the network and before the disk is touched:
// the outputs. It outlives a reload, and what did not change goes on.
type reactions struct {
	outputs *outputs.Set
	doors   doors
	memory  *orders.Memory // of orders by MQTT
}

// newReactions has its readings observed and recorded like those of sensors: observe is in
// memory alone, and put may wait for the disk.
func newReactions(a *reloadable) *reactions {
	r := &reactions{outputs: outputs.NewSet(outputs.Wiring{Open: a.openLine,
		Observe: a.observe, Record: a.queue.Put, Report: a.queue.Report, Clock: a.clock, Log: a.log}),
		memory: orders.NewMemory(a.queue.Boot())}
	r.doors.to = access.Wiring{Boot: a.queue.Boot(), Questions: r.memory, Online: a.isOnline, Do: r.outputs.Do,
		Report: a.queue.Report, Now: a.clock.Now, Log: a.log}
	return r
}

// change makes those of cfg the outputs that run, until ctx is done. between is called when
// the old ones have ended, with the streams of those that go on.
func (r *reactions) change(ctx context.Context, cfg config.Config, between func(kept []sensors.Stream)) {
	r.outputs.Change(ctx, cfg.Outputs, func(kept []outputs.Spec) { between(outputs.Streams(kept)) })
	r.doors.change(ctx, cfg.Access)
}

// observe takes each reading first of all. It may be called from any goroutine, and waits
// for nothing.
func (r *reactions) observe(reading sensors.Reading) {
	r.outputs.Observe(reading)
	r.doors.observe(reading)
}

// wait waits until the context of change is done, every output is safe, and its last reading
// is recorded.
func (r *reactions) wait() {
	r.outputs.Wait()
	r.doors.running.Wait()
}

// makeSafe makes every output safe. It may be called from any goroutine, and waits for two
// seconds at most.
func (r *reactions) makeSafe() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return r.outputs.Safe(ctx)
}

// Outputs are the outputs as they are now. It may be called from any goroutine.
func (r *reactions) Outputs() []outputs.Status { return r.outputs.Status() }

// Arming is nil: there is no alarm panel yet.
func (r *reactions) Arming() *arming.Status { return nil }
