package main

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	orders "github.com/holdfast-iot/holdfast/uplink/command"
)

// do executes an order that came by MQTT and was accepted. It does not block.
func (r *reactions) do(o orders.Order, answer func(done bool, why string)) {
	by := "order"
	if o.ID != "" {
		by += ":" + o.ID
	}
	if o.Target == arming.StreamName && r.Arming() != nil { // without a panel it may be an output's name
		r.rules.Order(arming.Order{To: panelStates[o.State], Code: o.Code, Bypass: o.Bypass, By: by,
			Answer: func(a arming.Answer) { answer(a.Done, a.Why) }})
		return
	}
	r.outputs.Do(outputs.Order{Output: o.Target, On: o.State == "ON", For: o.For, By: by, Remote: true,
		Answer: func(a outputs.Answer) { answer(a.Done, a.Why) }})
}

// panelStates are the states that orders to the panel request.
var panelStates = map[string]string{"ARM_AWAY": "armed_away", "ARM_HOME": "armed_home", "DISARM": arming.Disarmed}

// doors run the doors of the configuration. A reload keeps them, with the cards that wait
// for an answer, if they did not change.
type doors struct {
	to access.Wiring

	specs   []access.Spec      // used only by the goroutine of change
	stop    context.CancelFunc // of the running doors; nil: none run. Used like specs
	running sync.WaitGroup     // counts the goroutines of the doors

	now atomic.Pointer[access.Doors] // nil: there are none
}

// change replaces the doors that run; they run until ctx is done.
func (d *doors) change(ctx context.Context, specs []access.Spec) {
	if reflect.DeepEqual(specs, d.specs) {
		return
	}
	if d.stop != nil {
		d.stop()
		d.running.Wait()
	}
	d.specs, d.stop = specs, nil
	if len(specs) == 0 {
		d.now.Store(nil)
		return
	}
	next := access.New(specs, d.to)
	d.now.Store(next)
	ctx, d.stop = context.WithCancel(ctx)
	d.running.Go(func() { _ = next.Run(ctx) }) // its error is that of ctx
}

// observe gives each reading to the doors. It does not block.
func (d *doors) observe(r sensors.Reading) {
	if now := d.now.Load(); now != nil {
		now.Observe(r)
	}
}
