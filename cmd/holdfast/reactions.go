package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/rules"
	orders "github.com/holdfast-iot/holdfast/uplink/command"
)

// reactions are what reacts to readings without the network and before the disk is touched:
// the outputs, the rules and the alarm panel. It outlives a reload, and what did not change
// goes on.
type reactions struct {
	outputs *outputs.Set
	rules   *rules.Runner
	doors   doors
	memory  *orders.Memory // of orders by MQTT
	log     *slog.Logger
}

// newReactions has its readings observed and recorded like those of sensors: observe is in
// memory alone, and Add may wait for room in memory.
func newReactions(a *reloadable) *reactions {
	r := &reactions{outputs: outputs.NewSet(outputs.Wiring{Open: a.openLine,
		Observe: a.observeOutput, Record: a.queue.Add, Report: a.queue.Report, Clock: a.clock, Log: a.log, Seqs: a.seqs,
		Watch: func(output string) func(time.Duration) { return a.manager.Loop("output " + output) }}),
		memory: orders.NewMemory(a.queue.Boot()), log: a.log}
	state := arming.NewStore(filepath.Join(filepath.Dir(a.cfg.Queue.Path), arming.FileName))
	r.rules = rules.NewRunner(rules.Wiring{Do: r.outputs.Do, Store: state,
		Observe: a.observe, Record: a.queue.Add, Report: a.queue.Report, Clock: a.clock, Log: a.log, Seqs: a.seqs})
	r.doors.to = access.Wiring{Boot: a.queue.Boot(), Questions: r.memory, Online: a.isOnline, Do: r.outputs.Do,
		Report: a.queue.Report, Now: a.clock.Now, Log: a.log}
	return r
}

// change makes those of cfg the outputs that run, until ctx is done. between is called when
// the old ones have ended, with the streams of those that go on.
func (r *reactions) change(ctx context.Context, cfg config.Config, between func(kept []sensors.Stream)) {
	r.outputs.Change(ctx, cfg.Outputs, func(kept []outputs.Spec) {
		streams := outputs.Streams(kept)
		if _, ok := r.rules.Status(); ok && cfg.Arming != nil {
			streams = append(streams, sensors.Stream{Name: arming.StreamName})
		}
		between(streams)
		keepRan(cfg, r.log)
	})
	r.doors.change(ctx, cfg.Access)
}

// changeRules makes those of cfg the rules and the panel. The outputs of cfg run already: a
// panel that was triggered orders at once. known are the latest readings of the streams that
// go on.
func (r *reactions) changeRules(cfg config.Config, known []sensors.Reading) {
	for _, reading := range known {
		r.outputs.Observe(reading) // it may confirm an output that is new
	}
	r.rules.Change(cfg.Rules, cfg.Arming, known)
}

// observe takes each reading first of all. It may be called from any goroutine, and waits
// for nothing.
func (r *reactions) observe(reading sensors.Reading) {
	r.rules.Observe(reading)
	r.outputs.Observe(reading)
	r.doors.observe(reading)
}

// safeTimeout is how long the link waits at the end for outputs to become safe: one whose bus
// hangs does not keep it from saying that we are offline.
const safeTimeout = time.Second

// waitFor waits until done is closed, for no longer than limit.
func waitFor(done <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// ended is closed when the context of change is done, every output is safe, and its last
// reading is recorded.
func (r *reactions) ended() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		r.outputs.Wait()
		r.doors.running.Wait()
		close(ended)
	}()
	return ended
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

// Arming is the alarm panel as it is now, nil if there is none. It may be called from any
// goroutine.
func (r *reactions) Arming() *arming.Status {
	if s, ok := r.rules.Status(); ok {
		return &s
	}
	return nil
}
