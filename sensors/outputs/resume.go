package outputs

import (
	"context"
	"time"
)

// A suspension holds the orders with Resume that a fault has ended or refused. When the line is safe
// and answers again, they are resumed as one order for the rest of their time. Any order to the safe
// level cancels it. Only the output's goroutine uses it.
type suspension struct {
	inForce hold   // the orders with Resume that are in force now
	by      string // the cause of the latest of them

	hold hold          // of the suspended orders
	at   time.Time     // when they are resumed, if there is no fault then
	wait time.Duration // the last wait before that: each fault doubles it, because the orders may cause it
}

// isResumed reports whether an order is resumed after a fault. An order for a pulse is not: it is too
// short.
func (p *plan) isResumed(o Order) bool { return o.Resume && p.spec.Pulse == 0 }

// suspend suspends the orders in force, because a fault begins. The output then goes to its safe
// level.
func (p *plan) suspend(now time.Time) {
	s := &p.suspension
	if s.inForce.active {
		s.hold = s.hold.orLonger(p.limited(s.inForce, p.limit()))
		s.wait = max(2*s.wait, minRetry)
		s.at = now.Add(s.wait)
	}
	p.clear()
}

// refuse suspends an order that is refused because of a fault.
func (p *plan) refuse(o Order, now time.Time) {
	s := &p.suspension
	if !p.isResumed(o) {
		return
	}
	h, limit := p.holdOf(o, now), time.Time{}
	if p.spec.MaxOn > 0 {
		limit = now.Add(p.spec.MaxOn)
	}
	s.hold, s.by = s.hold.orLonger(p.limited(h, limit)), o.By
	if s.at.IsZero() {
		s.at = now
	}
}

// limited returns a hold that ends at limit at the latest; zero: there is no limit.
func (p *plan) limited(h hold, limit time.Time) hold {
	if !limit.IsZero() && (h.until.IsZero() || limit.Before(h.until)) {
		h.until = limit
	}
	return h
}

// takeSuspended returns the order that is due at now. due is false if there is none, or if its
// time is over.
func (p *plan) takeSuspended(now time.Time) (o Order, due bool) {
	s := &p.suspension
	if !s.hold.active || now.Before(s.at) {
		return o, false
	}
	o = Order{On: !p.spec.Safe, By: s.by, Resume: true}
	if until := s.hold.until; !until.IsZero() {
		o.For = until.Sub(now)
	}
	over := !s.hold.until.IsZero() && o.For <= 0
	s.hold, s.at = hold{}, time.Time{}
	return o, !over
}

// resume executes the suspended order if it is due and the line answers.
func (o *output) resume(ctx context.Context, now time.Time) {
	if o.fault != "" {
		return
	}
	if order, due := o.plan.takeSuspended(now); due {
		if refused := o.do(ctx, order); refused != "" {
			o.log.Warn("the order that a fault ended is not resumed", "by", order.By, "why", refused)
		}
	}
}

// resumeAt returns when resume has something to do; zero: never.
func (o *output) resumeAt() time.Time {
	if o.fault != "" || !o.plan.suspension.hold.active {
		return time.Time{}
	}
	return o.plan.suspension.at
}
