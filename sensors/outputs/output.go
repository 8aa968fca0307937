package outputs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// An output is one running output. Only the goroutine of run uses its fields, except for
// the inbox and for what mu guards.
type output struct {
	spec  Spec
	set   *Set
	log   *slog.Logger
	inbox *inbox
	ended chan struct{} // closed when run has returned
	stop  context.CancelFunc

	progress func(within time.Duration) // see Wiring.Watch

	plan        plan
	port        port
	watch       watch
	on          bool      // the level that was set last
	fault       string    // why the line may have another level than on; empty: it has that level
	reportedEnd time.Time // the end in the last reading; zero: none

	mu     sync.Mutex
	status Status // guarded by mu
}

// newOutput returns an output whose line is not open yet.
func newOutput(spec Spec, set *Set) *output {
	o := &output{spec: spec, set: set, log: set.to.Log.With("output", spec.Stream.Name), inbox: newInbox(),
		ended: make(chan struct{}), port: port{spec: spec, open: set.to.Open}, on: spec.Safe}
	o.plan.spec = &o.spec
	o.progress = func(time.Duration) {}
	if set.to.Watch != nil {
		o.progress = set.to.Watch(spec.Stream.Name)
	}
	o.status = Status{Name: spec.Stream.Name, Class: spec.Stream.Class, Commands: spec.Commands,
		On: spec.Safe, Err: "starts"}
	return o
}

// run opens the line, does the orders and ends them when their time is over, until ctx is
// done. Then it sets the safe level and closes the line.
func (o *output) run(ctx context.Context) {
	defer close(o.ended)
	defer o.progress(0)
	o.progress(busyLimit)
	o.start(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			o.end(ctx)
			return
		case <-o.inbox.wake:
		case <-timer.C:
		case <-o.port.hungDone():
		}
		o.progress(busyLimit)
		if ctx.Err() != nil {
			continue // to ctx.Done: no order is done any more
		}
		// What is due comes first: an order after the end of MaxOn finds the output at rest.
		o.tick(ctx, time.Now())
		o.doWaiting(ctx)
		if next := o.next(); next.IsZero() {
			timer.Stop()
			o.progress(0)
		} else {
			timer.Reset(time.Until(next))
			o.progress(max(time.Until(next), 0) + busyLimit)
		}
	}
}

// doWaiting does the waiting orders. If ctx ends in between, it puts the others back for
// end.
func (o *output) doWaiting(ctx context.Context) {
	orders := o.inbox.take()
	for i, order := range orders {
		if ctx.Err() != nil {
			o.inbox.putBack(orders[i:])
			return
		}
		o.progress(busyLimit) // for each: a line may need seconds, and many orders may wait
		order.answer(o.do(ctx, order))
	}
}

// busyLimit is for the watchdog: an output needs less between two waits, because calls of
// its line are limited to a second or two.
const busyLimit = time.Minute

// start opens the line and sets its safe level.
func (o *output) start(ctx context.Context) {
	if err := o.port.set(ctx, o.spec.Safe); err != nil {
		o.fail(ctx, err.Error())
		return
	}
	o.settled(ByStart)
}

// do does an order, or returns why it is refused.
func (o *output) do(ctx context.Context, order Order) (refused string) {
	now, name := time.Now(), o.spec.Stream.Name
	if order.On == o.spec.Safe {
		return o.toSafe(ctx, order.By, o.plan.take(order, now))
	}
	if o.fault != "" && o.port.hung == nil {
		o.retry(ctx) // the next retry may be 15 s away, and this may be an alarm
	}
	if o.fault != "" {
		return "fault: " + o.fault
	}
	if refused := o.plan.refusal(order, now); refused != "" {
		return refused
	}
	if !o.plan.away() {
		if refused := o.set.locks.claim(name); refused != "" {
			return refused
		}
	}
	wasAway := o.plan.away()
	if !o.plan.take(order, now) {
		return ""
	}
	if !wasAway {
		if err := o.port.set(ctx, order.On); err != nil {
			o.fail(ctx, err.Error())
			return "fault: " + err.Error()
		}
		o.on = order.On
		o.changed()
	}
	// A repeated order moves the end by a little each time: only a change that a person would
	// notice becomes a reading.
	if wasAway && o.plan.end().Sub(o.reportedEnd).Abs() < sayEnd && !o.reportedEnd.IsZero() {
		o.publish(order.By)
		return ""
	}
	o.emit(order.By)
	return ""
}

// sayEnd is the minimum change of an output's end that becomes a reading if nothing else
// changes.
const sayEnd = time.Second

// toSafe sets the safe level, unless the line certainly has it and changed is false. It
// returns what failed; empty: nothing.
func (o *output) toSafe(ctx context.Context, by string, changed bool) (failed string) {
	if !changed && o.fault == "" && o.on == o.spec.Safe {
		return ""
	}
	if err := o.port.set(ctx, o.spec.Safe); err != nil {
		o.fail(ctx, err.Error())
		return "fault: " + err.Error()
	}
	if o.fault != "" && o.unconfirmed() {
		return "fault: " + o.fault // the confirming stream says that the output is not safe
	}
	o.settled(by)
	return ""
}

// settled notes that the line has its safe level: a fault ends.
func (o *output) settled(by string) {
	o.on = o.spec.Safe
	o.set.locks.set(o.spec.Stream.Name, o.lockState())
	o.changed()
	if o.fault != "" {
		o.fault = ""
		o.log.Info("output answers again")
		o.report("recovered", map[string]any{"output": o.spec.Stream.Name,
			"after_s": int(time.Since(o.watch.failedAt).Seconds())})
	}
	o.emit(by)
}

// lockState returns the state for the interlocks while the level is known.
func (o *output) lockState() lockState {
	if o.on {
		return lockOn
	}
	return lockOff
}

// fail begins a fault: the level of the line is not known. It tries at once to set the safe
// level. The fault ends when the line is known to be safe: see retried.
func (o *output) fail(ctx context.Context, why string) {
	o.plan.clear()
	o.set.locks.set(o.spec.Stream.Name, lockUnknown)
	first := o.fault == ""
	o.fault = why
	if !first {
		o.watch.failAgain(time.Now())
		o.publish("")
		return
	}
	o.watch.fail(time.Now())
	o.emit(ByFault)
	o.report("output_fault", map[string]any{"output": o.spec.Stream.Name, "error": why})
	err := o.port.set(ctx, o.spec.Safe)
	o.log.Error("it is not known what the output does", "err", why)
	o.retried(ctx, err)
}

// retry tries to set the safe level of a line in fault.
func (o *output) retry(ctx context.Context) {
	o.retried(ctx, o.port.set(ctx, o.spec.Safe))
}

// retried handles the result of setting the safe level of a line in fault: it ends the fault
// or plans the next retry.
func (o *output) retried(ctx context.Context, err error) {
	switch {
	case err == nil && !o.unconfirmed():
		o.settled(ByFault)
	case err != nil && o.port.hung == nil && o.port.line != nil:
		// Closing makes the next retry open the line again, at its safe level: perhaps only the
		// open file was broken.
		_ = o.port.closeLine(ctx) // err says already why the line is broken
		fallthrough
	default:
		o.watch.failAgain(time.Now())
	}
}

// end sets the safe level and closes the line: the agent ends, or the output was changed. If
// the output may still be on, its interlock stays until it runs again and answers.
func (o *output) end(ctx context.Context) {
	name := o.spec.Stream.Name
	o.set.handOver(name, o.inbox.close("stopped"))
	o.port.collectHung()
	changed := o.plan.away() || o.fault != ""
	o.plan.clear()
	err := o.port.set(ctx, o.spec.Safe)
	if err == nil && o.fault != "" && o.unconfirmed() {
		err = errors.New(o.fault)
	}
	switch {
	case err != nil:
		o.set.locks.set(name, lockUnknown)
		o.log.Error("output not made safe at its end", "err", err)
	case changed:
		o.settled(ByStop)
	}
	if changed {
		// A relay's driver and a bus need a moment before the kernel gets the line back.
		time.Sleep(settleTime)
	}
	if err := o.port.closeLine(ctx); err != nil {
		o.log.Warn("output not closed well", "err", err)
	}
	if err == nil {
		o.set.locks.remove(name)
	}
}

// tick does what is due at now: retries, the end of orders, a lost link and checks.
func (o *output) tick(ctx context.Context, now time.Time) {
	if o.port.collectHung() && o.fault != "" {
		o.retry(ctx)
	}
	if by := o.plan.due(now); by != "" {
		_ = o.toSafe(ctx, by, true) // a failure is reported as a fault
	}
	o.loseLink(ctx, now)
	o.check(ctx, now)
}

// loseLink does what LinkLost asks for, once the link has been down for LinkLost.After.
func (o *output) loseLink(ctx context.Context, now time.Time) {
	at := o.plan.linkLostAt(o.set.linkDown())
	if at.IsZero() || now.Before(at) {
		return
	}
	if o.spec.LinkLost.Then != o.spec.Safe && o.plan.away() {
		o.plan.keepRemote() // the output stays on: MaxOn keeps its start, and the interlock is held already
		o.emit(ByLinkLost)
		return
	}
	changed, safe := o.plan.dropRemote()
	switch lost := o.spec.LinkLost; {
	case lost.Then != o.spec.Safe:
		if refused := o.do(ctx, Order{On: lost.Then, By: ByLinkLost}); refused != "" {
			o.log.Warn("link_lost is not done", "why", refused)
		}
	case safe:
		_ = o.toSafe(ctx, ByLinkLost, true) // a failure is reported as a fault
	case changed:
		o.emit(ByLinkLost) // a rule's order still keeps it on, with an earlier end
	}
}

// next returns when tick has something to do; zero: never.
func (o *output) next() (at time.Time) {
	for _, t := range []time.Time{o.plan.end(), o.plan.linkLostAt(o.set.linkDown()), o.nextCheck()} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// emit records a reading of the current state of the output; by is its cause.
func (o *output) emit(by string) {
	r := sensors.Reading{Stream: o.spec.Stream.Name, At: o.set.to.Clock.Now(), Unit: o.spec.Stream.Unit,
		Priority: o.spec.Stream.Priority, By: by, Err: o.fault}
	if o.fault == "" {
		if o.on {
			r.Value = 1
		}
		r.State = o.spec.Stream.Word(r.Value)
		if o.reportedEnd = o.plan.end(); !o.reportedEnd.IsZero() {
			r.For = max(time.Until(o.reportedEnd).Round(time.Millisecond), time.Millisecond)
		}
	}
	o.publish(by)
	o.set.record(r)
}

// publish updates the output's Status; by is the cause of the change, empty if the level
// did not change.
func (o *output) publish(by string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.status
	s.On, s.Err, s.Until, s.RestUntil = o.on, o.fault, o.plan.end(), o.plan.restUntil
	if by != "" && by != ByStart {
		s.By, s.Since = by, time.Now()
	}
}

// report reports an event of the output.
func (o *output) report(name string, details map[string]any) {
	e := sensors.NewEvent(name, details)
	e.At = o.set.to.Clock.Now()
	o.set.report(e)
}

// snapshot returns the current status. It may be called from any goroutine.
func (o *output) snapshot() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status
	if !time.Now().Before(s.RestUntil) {
		s.RestUntil = time.Time{}
	}
	return s
}
