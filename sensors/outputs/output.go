package outputs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// An output is one output that runs. It belongs to the goroutine of run, but for its inbox
// and for what mu guards.
type output struct {
	spec  Spec
	set   *Set
	log   *slog.Logger // for later alone
	inbox *inbox
	ended chan struct{} // closed when run has returned
	stop  context.CancelFunc

	progress func(within time.Duration) // see Wiring.Watch

	plan  plan
	port  port
	watch watch
	on    bool      // the level that the line was made to have
	fault string    // why it is not known whether it has; empty: it is
	said  time.Time // the end that the last reading had; zero: none

	mu     sync.Mutex
	status Status // guarded by mu
}

// newOutput is an output whose line is not open yet.
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

// run opens the line and does what is due until ctx is done; then it makes the line safe and
// gives it back.
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
			continue // no order is done any more
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

// doWaiting does the orders that wait, until ctx is done: what is left then is for end.
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

// busyLimit is for what an output does between two waits, and how late it may wake: calls of
// its line are bounded by a second or two.
const busyLimit = time.Minute

// start opens the line, which has its safe level from the first moment.
func (o *output) start(ctx context.Context) {
	if err := o.port.set(ctx, o.spec.Safe); err != nil {
		o.fail(ctx, err.Error())
		return
	}
	o.settled(ByStart)
}

// do does an order, or says why it is refused.
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
	// An order that is repeated moves the end again and again: the history has what a person
	// would notice.
	if wasAway && o.plan.end().Sub(o.said).Abs() < sayEnd && !o.said.IsZero() {
		o.publish(order.By)
		return ""
	}
	o.emit(order.By)
	return ""
}

// sayEnd is by how much the end of an output has to move for a reading of that alone.
const sayEnd = time.Second

// toSafe makes the line safe, also where it should be already and is not known to be. It
// says what failed.
func (o *output) toSafe(ctx context.Context, by string, changed bool) (failed string) {
	if !changed && o.fault == "" && o.on == o.spec.Safe {
		return ""
	}
	if err := o.port.set(ctx, o.spec.Safe); err != nil {
		o.fail(ctx, err.Error())
		return "fault: " + err.Error()
	}
	if o.fault != "" && o.unconfirmed() {
		return "fault: " + o.fault // it was told to be safe, and its stream says it is not
	}
	o.settled(by)
	return ""
}

// settled takes note that the line is safe.
func (o *output) settled(by string) {
	o.on = o.spec.Safe
	o.set.locks.set(o.spec.Stream.Name, o.lockState())
	o.changed()
	if o.fault != "" {
		o.fault = ""
		o.later(func() { o.log.Info("output answers again") })
		o.report("recovered", map[string]any{"output": o.spec.Stream.Name,
			"after_s": int(time.Since(o.watch.failedAt).Seconds())})
	}
	o.emit(by)
}

// lockState is what interlocks have to know of an output that is at its safe level.
func (o *output) lockState() lockState {
	if o.on {
		return lockOn
	}
	return lockOff
}

// fail takes note that it is not known what the output does, and tries once at once to
// make it safe. What ends the fault is a line that says that it is safe.
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
	o.later(func() { o.log.Error("it is not known what the output does", "err", why) })
	o.retried(ctx, err)
}

// retry tries to make a line in fault safe.
func (o *output) retry(ctx context.Context) {
	o.retried(ctx, o.port.set(ctx, o.spec.Safe))
}

// retried takes what came of a line in fault that was told to be safe.
func (o *output) retried(ctx context.Context, err error) {
	switch {
	case err == nil && !o.unconfirmed():
		o.settled(ByFault)
	case err != nil && o.port.hung == nil && o.port.line != nil:
		// Opened anew, it has its safe level in one step; what failed may have been the file.
		_ = o.port.closeLine(ctx) // it failed anyway
		fallthrough
	default:
		o.watch.failAgain(time.Now())
	}
}

// end makes the line safe and gives it back: the agent ends, or the output was changed. The
// interlocks keep an output that may still be on, until it runs again and answers.
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
		o.later(func() { o.log.Error("output not made safe at its end", "err", err) })
	case changed:
		o.settled(ByStop)
	}
	if changed {
		// A relay's driver and a bus need a moment; then the kernel may have the line.
		time.Sleep(settleTime)
	}
	if err := o.port.closeLine(ctx); err != nil {
		o.later(func() { o.log.Warn("output not closed well", "err", err) })
	}
	if err == nil {
		o.set.locks.remove(name)
	}
}

// tick does what is due.
func (o *output) tick(ctx context.Context, now time.Time) {
	if o.port.collectHung() && o.fault != "" {
		o.retry(ctx)
	}
	if by := o.plan.due(now); by != "" {
		_ = o.toSafe(ctx, by, true) // a failure is told as a fault
	}
	o.loseLink(ctx, now)
	o.check(ctx, now)
}

// loseLink ends the orders that came by MQTT, once the link has been down for long.
func (o *output) loseLink(ctx context.Context, now time.Time) {
	at := o.plan.linkLostAt(o.set.linkDown())
	if at.IsZero() || now.Before(at) {
		return
	}
	if o.spec.LinkLost.Then != o.spec.Safe && o.plan.away() {
		o.plan.keepRemote() // no new start: MaxOn goes on, and no interlock is asked
		o.emit(ByLinkLost)
		return
	}
	changed, safe := o.plan.dropRemote()
	switch lost := o.spec.LinkLost; {
	case lost.Then != o.spec.Safe:
		if refused := o.do(ctx, Order{On: lost.Then, By: ByLinkLost}); refused != "" {
			o.later(func() { o.log.Warn("link_lost is not done", "why", refused) })
		}
	case safe:
		_ = o.toSafe(ctx, ByLinkLost, true) // a failure is told as a fault
	case changed:
		o.emit(ByLinkLost) // a rule keeps it, for less time
	}
}

// next is when something is due by itself; zero: nothing is.
func (o *output) next() (at time.Time) {
	for _, t := range []time.Time{o.plan.end(), o.plan.linkLostAt(o.set.linkDown()), o.nextCheck()} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// emit makes a reading of what the output does now.
func (o *output) emit(by string) {
	r := sensors.Reading{Stream: o.spec.Stream.Name, At: o.set.to.Clock.Now(), Unit: o.spec.Stream.Unit,
		Priority: o.spec.Stream.Priority, By: by, Err: o.fault}
	if o.fault == "" {
		if o.on {
			r.Value = 1
		}
		r.State = o.spec.Stream.Word(r.Value)
		if o.said = o.plan.end(); !o.said.IsZero() {
			r.For = max(time.Until(o.said).Round(time.Millisecond), time.Millisecond)
		}
	}
	o.publish(by)
	o.set.record(r)
}

// publish makes Status show what the output does now; by is what changed it, empty if
// nothing did.
func (o *output) publish(by string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.status
	s.On, s.Err, s.Until, s.RestUntil = o.on, o.fault, o.plan.end(), o.plan.restUntil
	if by != "" && by != ByStart {
		s.By, s.Since = by, time.Now()
	}
}

// later has something written to the log. The log may hang, and must neither keep the line on
// nor keep an order from being done.
func (o *output) later(write func()) { o.set.logging.Put(write) }

// report makes an event.
func (o *output) report(name string, details map[string]any) {
	e := sensors.NewEvent(name, details)
	e.At = o.set.to.Clock.Now()
	o.set.report(e)
}

// snapshot is the output as it is now. It may be called from any goroutine.
func (o *output) snapshot() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status
	if !time.Now().Before(s.RestUntil) {
		s.RestUntil = time.Time{}
	}
	return s
}
