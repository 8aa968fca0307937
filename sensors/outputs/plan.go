package outputs

import "time"

// What changes an output besides orders, as readings have it in By.
const (
	ByStart    = "start"     // the agent began, or the output was added
	ByStop     = "stop"      // the agent ends, or the output was changed or removed
	ByTimer    = "timer"     // the time of the orders is over
	ByMaxOn    = "max_on"    // MaxOn is over
	ByLinkLost = "link_lost" // see LinkLost
	ByFault    = "fault"     // the line did not do what it was told
)

// A plan says when an output has to be away from its safe level. It knows orders and
// times, and no hardware: the caller tells what time it is, by a clock with a monotonic
// part. It is for one goroutine.
//
// Orders overlap. The output stays away from its safe level until the latest end of all
// orders in force, and never beyond MaxOn: an order can prolong another one, and cannot
// shorten it, because the cause of a short order ("chime for 2s") knows nothing of that of
// a long one ("siren for 3m"), which would end early and silently. Only an order to the
// safe level ends the others, whatever their cause: an output is a promise to be off, and
// the reading says who ended it.
type plan struct {
	spec *Spec
	left time.Time // when the output left its safe level; zero: it is there

	// The orders in force that keep it away, those of this machine and those that came by
	// MQTT: LinkLost ends these alone.
	local, remote hold

	latestRemote bool      // the latest order came by MQTT
	restUntil    time.Time // zero: it does not rest
}

// A hold is the latest end of some orders.
type hold struct {
	active bool
	until  time.Time // zero: until another order, or MaxOn
}

// away reports whether the output is to be away from its safe level.
func (p *plan) away() bool { return !p.left.IsZero() }

// refusal says why an order is not taken now, "" if it is. An order to the safe level
// always is.
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

// take takes an order that is not refused. It reports whether something has changed: the
// level, or when the output goes back by itself.
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

// duration is how long an order keeps the output away; 0: until another order, or MaxOn.
func (p *plan) duration(o Order) time.Duration {
	if p.spec.Pulse > 0 {
		return p.spec.Pulse
	}
	return o.For
}

// orLonger is the longer one of two holds.
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

// end is when the output goes back to its safe level by itself; zero: never, or it is there.
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

// limit is when MaxOn is over; zero: never.
func (p *plan) limit() time.Time {
	if p.spec.MaxOn == 0 || !p.away() {
		return time.Time{}
	}
	return p.left.Add(p.spec.MaxOn)
}

// due says why the output has to go back to its safe level now, "" if it has not. It has
// left the plan then.
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

// linkLostAt is when the orders that came by MQTT end, if the link is down since then;
// zero: nothing of it concerns this output.
func (p *plan) linkLostAt(down time.Time) time.Time {
	lost := p.spec.LinkLost
	if lost == nil || down.IsZero() || !p.remote.active && !(p.latestRemote && lost.Then != p.spec.Safe) {
		return time.Time{}
	}
	return down.Add(lost.After)
}

// dropRemote ends the orders that came by MQTT. It reports whether something has changed,
// and whether the output has to go back to its safe level.
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

// keepRemote makes the orders that came by MQTT those of this machine, without an end of
// their own but that of a pulse. The output is away from its safe level, and MaxOn counts on
// from when it left.
func (p *plan) keepRemote() {
	kept := hold{active: true}
	if p.spec.Pulse > 0 {
		kept = p.remote
	}
	p.local, p.remote, p.latestRemote = p.local.orLonger(kept), hold{}, false
}

// clear ends all orders: the output goes back to its safe level.
func (p *plan) clear() { p.left, p.local, p.remote = time.Time{}, hold{}, hold{} }
