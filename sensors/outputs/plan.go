package outputs

import "time"

// The causes of a change besides orders, for Reading.By and Status.By.
const (
	ByStart    = "start"     // the agent began, or the output was added
	ByStop     = "stop"      // the agent ends, or the output was changed or removed
	ByTimer    = "timer"     // the time of the orders is over
	ByMaxOn    = "max_on"    // MaxOn is over
	ByLinkLost = "link_lost" // see LinkLost
	ByFault    = "fault"     // the line does not have the level that was set
)

// A plan says when an output has to be away from its safe level. It knows orders and times
// but no hardware. The caller passes the current time, which needs a monotonic part. Only
// one goroutine may use a plan.
//
// Orders overlap. The output stays away from its safe level until the latest end of all
// orders in force, but never longer than MaxOn. An order can prolong another one but not
// shorten it: a short order ("chime for 2s") must not end a long one ("siren for 3m") early
// and silently. Only an order to the safe level ends all others, whatever their cause, and
// its reading says who ended them.
type plan struct {
	spec *Spec
	left time.Time // when the output left its safe level; zero: it is there

	// The orders in force: those of this machine, and those that came by MQTT. LinkLost ends
	// only the remote ones.
	local, remote hold

	latestRemote bool      // the latest order came by MQTT
	restUntil    time.Time // zero: it does not rest
}

// A hold is the latest end of a group of orders that keep the output away from its safe
// level.
type hold struct {
	active bool      // at least one order is in force
	until  time.Time // zero: until another order, or MaxOn
}

// away reports whether the output has to be away from its safe level.
func (p *plan) away() bool { return !p.left.IsZero() }

// refusal returns why an order is refused now; empty: it is accepted. An order to the safe
// level is always accepted.
func (p *plan) refusal(o Order, now time.Time) string {
	switch {
	case o.On == p.spec.Safe:
		return ""
	case o.For < 0:
		return "for is negative"
	case now.Before(p.restUntil):
		return "rest: " + p.restUntil.Sub(now).Round(time.Second).String() + " to go"
	}
	return ""
}

// take applies an order that was not refused. It reports whether the level has changed, or
// the time when the output goes back by itself.
func (p *plan) take(o Order, now time.Time) (changed bool) {
	was, wasAway := p.end(), p.away()
	p.latestRemote = o.Remote
	switch {
	case o.On == p.spec.Safe:
		p.clear()
		return wasAway
	case wasAway && p.spec.Pulse > 0:
		return false // one pulse is under way: a second order within it is the same one
	case !wasAway:
		p.left = now
	}
	h := hold{active: true}
	if d := p.duration(o); d > 0 {
		h.until = now.Add(d)
	}
	if o.Remote {
		p.remote = p.remote.orLonger(h)
	} else {
		p.local = p.local.orLonger(h)
	}
	return !wasAway || !p.end().Equal(was)
}

// duration returns how long an order keeps the output away; 0: until another order, or
// MaxOn.
func (p *plan) duration(o Order) time.Duration {
	if p.spec.Pulse > 0 {
		return p.spec.Pulse
	}
	return o.For
}

// orLonger returns the hold that ends later.
func (h hold) orLonger(other hold) hold {
	switch {
	case !h.active:
		return other
	case !other.active, h.until.IsZero():
		return h
	case other.until.IsZero(), other.until.After(h.until):
		return other
	}
	return h
}

// end returns when the output goes back to its safe level by itself; zero: never, or it is
// there.
func (p *plan) end() time.Time {
	if !p.away() {
		return time.Time{}
	}
	end, limit := p.local.orLonger(p.remote).until, p.limit()
	if end.IsZero() || !limit.IsZero() && limit.Before(end) {
		return limit
	}
	return end
}

// limit returns when MaxOn is over; zero: never.
func (p *plan) limit() time.Time {
	if p.spec.MaxOn == 0 || !p.away() {
		return time.Time{}
	}
	return p.left.Add(p.spec.MaxOn)
}

// due returns why the output has to go back to its safe level now, and ends all orders;
// empty: it does not have to.
func (p *plan) due(now time.Time) (by string) {
	end, limit := p.end(), p.limit()
	switch {
	case end.IsZero() || now.Before(end):
		return ""
	case !limit.IsZero() && !now.Before(limit):
		p.clear()
		p.restUntil = now.Add(p.spec.Rest)
		return ByMaxOn
	}
	p.clear()
	return ByTimer
}

// linkLostAt returns when LinkLost takes effect, if the link is down since the time down;
// zero: it does not apply to this output now.
func (p *plan) linkLostAt(down time.Time) time.Time {
	lost := p.spec.LinkLost
	if lost == nil || down.IsZero() || !p.remote.active && !(p.latestRemote && lost.Then != p.spec.Safe) {
		return time.Time{}
	}
	return down.Add(lost.After)
}

// dropRemote ends the orders that came by MQTT. changed reports whether the end or the level
// changes, and safe whether the output has to go back to its safe level.
func (p *plan) dropRemote() (changed, safe bool) {
	was := p.end()
	p.remote, p.latestRemote = hold{}, false
	switch {
	case !p.away():
		return false, false
	case !p.local.active:
		p.clear()
		return true, true
	}
	return !p.end().Equal(was), false
}

// keepRemote turns the orders that came by MQTT into orders of this machine. They keep the
// end of a pulse and lose every other end. MaxOn still counts from when the output left its
// safe level.
func (p *plan) keepRemote() {
	kept := hold{active: true}
	if p.spec.Pulse > 0 {
		kept = p.remote
	}
	p.local, p.remote, p.latestRemote = p.local.orLonger(kept), hold{}, false
}

// clear ends all orders: the output goes back to its safe level.
func (p *plan) clear() { p.left, p.local, p.remote = time.Time{}, hold{}, hold{} }
