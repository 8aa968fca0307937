package outputs

import (
	"context"
	"fmt"
	"time"
)

// How often a line is read back. A line at its safe level is looked at rarely, because
// each look wakes the processor: what a person would notice at once, such as a siren,
// is noticed within a second while it is on or has just been.
const (
	lookBusy  = time.Second // away from the safe level, and for lookAfter afterwards
	lookIdle  = time.Minute
	lookAfter = 5 * time.Second

	minRetry = time.Second // of a line in fault
	maxRetry = 15 * time.Second
)

// A watch says when to look at a line again, and notes what its stream of confirmation
// says. It is for one goroutine.
type watch struct {
	looked    time.Time // when the line was looked at last, or changed
	changedAt time.Time
	odd       time.Time // since when the stream says otherwise; zero: it does not

	failedAt time.Time // when the fault began
	retryAt  time.Time
	retries  time.Duration // until the next one
}

// changed takes note that the line was changed and read back.
func (w *watch) changed(now time.Time) { w.looked, w.changedAt, w.odd = now, now, time.Time{} }

// fail begins a fault.
func (w *watch) fail(now time.Time) { w.failedAt, w.odd, w.retries = now, time.Time{}, minRetry }

// failAgain plans the next retry.
func (w *watch) failAgain(now time.Time) {
	w.retryAt = now.Add(w.retries)
	w.retries = min(2*w.retries, maxRetry)
}

// changed takes note that the line was changed and read back. The time in which its stream
// has to confirm that begins now, not with the next look.
func (o *output) changed() {
	o.watch.changed(time.Now())
	if o.unconfirmed() {
		o.watch.odd = o.watch.changedAt
	}
}

// nextLook is when the line or its stream has to be looked at.
func (o *output) nextLook() (at time.Time) {
	if o.fault != "" {
		if o.port.hung != nil {
			return time.Time{} // its return wakes the output
		}
		return o.watch.retryAt
	}
	every := lookIdle
	if o.plan.away() || o.watch.looked.Sub(o.watch.changedAt) < lookAfter {
		every = lookBusy
	}
	at = o.watch.looked.Add(every)
	if c := o.spec.Confirm; c != nil && !o.watch.odd.IsZero() && o.watch.odd.Add(c.Within).Before(at) {
		at = o.watch.odd.Add(c.Within)
	}
	return at
}

// look reads the line back, judges its stream, and tries again to make a line safe that is
// in fault.
func (o *output) look(ctx context.Context, now time.Time) {
	if o.fault != "" {
		confirmed := o.spec.Confirm != nil && o.port.line != nil && !o.unconfirmed()
		if o.port.hung == nil && (confirmed || !now.Before(o.watch.retryAt)) {
			o.retry(ctx)
		}
		return
	}
	if why := o.contradicted(now); why != "" {
		o.fail(ctx, why)
		return
	}
	if now.Before(o.nextLook()) {
		return
	}
	o.watch.looked = now
	if err := o.port.check(ctx, o.on); err != nil {
		o.fail(ctx, err.Error())
	}
}

// contradicted says that the stream of confirmation says otherwise for longer than it may.
func (o *output) contradicted(now time.Time) (why string) {
	c := o.spec.Confirm
	if c == nil {
		return ""
	}
	if !o.unconfirmed() {
		o.watch.odd = time.Time{}
		return ""
	}
	if o.watch.odd.IsZero() {
		o.watch.odd = now
	}
	if now.Sub(o.watch.odd) < c.Within {
		return ""
	}
	return fmt.Sprintf("is told to be %s, and %s says %s", word(o.on), c.Stream, o.set.saysWhat(c.Stream))
}

// unconfirmed reports whether the stream of confirmation says other than the output was
// told. A stream that fails confirms nothing; one without any reading yet confirms an output
// at its safe level, because sensors begin when outputs do.
func (o *output) unconfirmed() bool {
	c := o.spec.Confirm
	if c == nil {
		return false
	}
	on := o.on && o.fault == "" || o.fault != "" && o.spec.Safe
	r, heard := o.set.latest(c.Stream)
	if !heard {
		return on != o.spec.Safe
	}
	return r.Err != "" || (r.State == c.Is) != on
}
