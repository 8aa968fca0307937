package outputs

import (
	"context"
	"fmt"
	"time"
)

// The intervals at which a line is read back. At the safe level they are long, because each
// check wakes the processor. While an output is on, or was on until just now, a fault is
// found within a second.
const (
	checkBusy  = time.Second     // the interval away from the safe level, and for checkAfter afterwards
	checkIdle  = time.Minute     // the interval else
	checkAfter = 5 * time.Second // how long checkBusy stays after a change

	minRetry = time.Second // the first wait before a line in fault is tried again
	maxRetry = 15 * time.Second
)

// A watch says when a line has to be checked again, and for how long its confirming stream
// has contradicted it. It belongs to the output's goroutine.
type watch struct {
	checkedAt time.Time // when the line was last checked or changed
	changedAt time.Time
	// contradictedSince is when the confirming stream began to differ from the line; zero: it
	// does not differ.
	contradictedSince time.Time

	failedAt time.Time // when the fault began
	retryAt  time.Time
	retry    time.Duration // the wait before the retry after that
}

// changed notes that the line was changed and read back.
func (w *watch) changed(now time.Time) {
	w.checkedAt, w.changedAt, w.contradictedSince = now, now, time.Time{}
}

// fail begins a fault.
func (w *watch) fail(now time.Time) {
	w.failedAt, w.contradictedSince, w.retry = now, time.Time{}, minRetry
}

// failAgain plans the next retry.
func (w *watch) failAgain(now time.Time) {
	w.retryAt = now.Add(w.retry)
	w.retry = min(2*w.retry, maxRetry)
}

// changed notes that the line was changed and read back. Confirm.Within counts from now, not
// from the next check.
func (o *output) changed() {
	o.watch.changed(time.Now())
	if o.unconfirmed() {
		o.watch.contradictedSince = o.watch.changedAt
	}
}

// nextCheck returns when the line or its confirming stream has to be checked; zero: an
// abandoned call has to return first.
func (o *output) nextCheck() (at time.Time) {
	if o.fault != "" {
		if o.port.hung != nil {
			return time.Time{} // its return wakes the output
		}
		return o.watch.retryAt
	}
	every := checkIdle
	if o.plan.away() || o.watch.checkedAt.Sub(o.watch.changedAt) < checkAfter {
		every = checkBusy
	}
	at = o.watch.checkedAt.Add(every)
	since := o.watch.contradictedSince
	if c := o.spec.Confirm; c != nil && !since.IsZero() && since.Add(c.Within).Before(at) {
		at = since.Add(c.Within)
	}
	return at
}

// check reads the line back if that is due, and checks the confirming stream. If the line
// is in fault it tries again to make it safe.
func (o *output) check(ctx context.Context, now time.Time) {
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
	if now.Before(o.nextCheck()) {
		return
	}
	o.watch.checkedAt = now
	if err := o.port.check(ctx, o.on); err != nil {
		o.fail(ctx, err.Error())
	}
}

// contradicted returns an error text if the confirming stream has differed from the line
// for Confirm.Within; else it is empty.
func (o *output) contradicted(now time.Time) (why string) {
	c := o.spec.Confirm
	if c == nil {
		return ""
	}
	if !o.unconfirmed() {
		o.watch.contradictedSince = time.Time{}
		return ""
	}
	if o.watch.contradictedSince.IsZero() {
		o.watch.contradictedSince = now
	}
	if now.Sub(o.watch.contradictedSince) < c.Within {
		return ""
	}
	return fmt.Sprintf("should be %s, but %s says %s", word(o.on), c.Stream, o.set.stateText(c.Stream))
}

// unconfirmed reports whether the confirming stream differs from what the output should be.
// A stream that fails counts as different. A stream without a reading counts as equal if the
// output is at its safe level, because sensors start after outputs.
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
