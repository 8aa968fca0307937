package arming

import (
	"slices"
	"strings"
	"time"
)

// A Panel is the state machine of the alarm. Its input are readings, orders and times; its
// output are the effects that [Panel.Take] returns. It reads no clock and does not block, so
// that a file of readings can be tested with the times of the file. Only one goroutine at a
// time may use it.
//
// Times are only compared with each other. If they have a monotonic part, no delay depends
// on the wall clock.
type Panel struct {
	opt     Options
	saved   Saved
	since   time.Time
	until   time.Time       // when Advance has something to do; zero: never
	unready map[string]bool // by stream of Ready: its last value is not 0, or it failed; no entry: not read yet
	key     float64         // the last value of the key switch; unknownKey: there was none
	ran     []string        // rules that have run since it was disarmed; not saved: a start makes outputs safe
	effects Effects         // since the last Take
}

const unknownKey = -1

// Effects are what the owner of a panel has to do.
type Effects struct {
	Changes []Change // of the state, oldest first
	Run     []string // rules whose actions have to run
	Silence []string // rules that have run, and whose outputs have to go back to their safe level
	Refused []string // why an order of the key switch was refused: "open: front_door"
}

// A Change is one reading of the stream of the state.
type Change struct {
	At    time.Time
	State string
	By    string        // the cause: "rule:intruder", "code:anna", "key", "exit", "siren", "start"
	For   time.Duration // until it changes by itself; 0: it does not
}

// A Trip says that a rule for the current mode, or for every state, has fired.
type Trip struct {
	Rule     string
	Delay    time.Duration // the entry delay; 0: none
	Follower bool          // all of its streams are in Follow
}

// NewPanel returns a panel with the saved state, at the start of the agent. age is how long
// ago it was saved; it is known within one boot of the kernel.
//
// A panel that was pending or triggered becomes triggered, and the rules that waited or had
// run are run again: a power cut must not silence a siren. If the age is known, the siren
// time is shorter by it; if that time is over already, no rule runs. This is only about the
// saved alarm: a rule that is met by the first readings after the start trips again.
func NewPanel(opt Options, saved Saved, now time.Time, age time.Duration, known bool) *Panel {
	p := &Panel{opt: opt, saved: saved.clone(), since: now, unready: map[string]bool{}, key: unknownKey}
	switch p.saved.State {
	case Arming:
		p.leave(now, "start")
	case Pending, Triggered:
		left := opt.Siren
		if known && p.saved.State == Triggered {
			left = min(left-age, opt.Siren) // a negative age must not make it longer
		}
		if left > 0 {
			p.run(p.saved.Rules...)
		}
		left = max(left, time.Millisecond) // more than 0, so that Advance ends it
		p.trigger(now, "start", left)
	default:
		p.enter(now, p.saved.State, "start", 0)
	}
	return p
}

// Change sets other options. The state and a running time stay. The panel forgets the key
// switch and the streams of Ready; the caller has to call Observe for them.
func (p *Panel) Change(opt Options) {
	p.opt, p.unready, p.key = opt, map[string]bool{}, unknownKey
}

// Take returns what the panel has asked for since the last call.
func (p *Panel) Take() Effects {
	e := p.effects
	p.effects = Effects{}
	return e
}

// Saved returns what has to be on disk. The caller sets At.
func (p *Panel) Saved() Saved { return p.saved.clone() }

// State returns the current state, one of States.
func (p *Panel) State() string { return p.saved.State }

// Armed returns the mode that the panel is armed in, also while it is pending or triggered;
// empty: it is disarmed or in the exit delay, and rules for a mode are not active.
func (p *Panel) Armed() string {
	if p.saved.State == Arming {
		return ""
	}
	return p.saved.Mode
}

// IsBypassed reports whether rules ignore a stream until somebody disarms.
func (p *Panel) IsBypassed(stream string) bool { return slices.Contains(p.saved.Bypass, stream) }

// Next returns when Advance has something to do; zero: never.
func (p *Panel) Next() time.Time { return p.until }

// Advance does what is due at now: it ends a delay or the siren time. now must not be before
// that of an earlier call.
func (p *Panel) Advance(now time.Time) {
	if p.until.IsZero() || now.Before(p.until) {
		return
	}
	at := p.until
	switch p.saved.State {
	case Arming:
		p.enter(at, armed+p.saved.Mode, "exit", 0)
	case Pending:
		p.run(p.saved.Rules...)
		p.trigger(at, p.saved.By, p.opt.Siren)
	case Triggered:
		p.saved.Rules = nil
		p.enter(at, p.stateAfterAlarm(), "siren", 0)
	}
}

// Trip tells the panel that a rule for the current mode, or for every state, has fired. Its
// actions run at once, unless there is an entry delay:
//
//   - A rule with an entry delay makes the panel pending. If a delay is running already,
//     the rule neither extends nor shortens it.
//   - A rule without a delay triggers the panel, also while the delay of another rule is
//     running. Only a follower waits for the end of that delay, because its streams are on
//     the way from the door to the keypad.
//   - If the panel is triggered there is no delay, and the siren time starts again.
func (p *Panel) Trip(now time.Time, t Trip) {
	by := "rule:" + t.Rule
	waits := p.saved.State == Pending && (t.Delay > 0 || t.Follower)
	begins := strings.HasPrefix(p.saved.State, armed) && t.Delay > 0
	if !slices.Contains(p.saved.Rules, t.Rule) {
		p.saved.Rules = append(p.saved.Rules, t.Rule)
	}
	switch {
	case waits:
	case begins:
		p.enter(now, Pending, by, t.Delay)
	case p.saved.State == Pending:
		p.run(p.saved.Rules...)
		p.trigger(now, by, p.opt.Siren)
	default:
		p.run(t.Rule)
		p.trigger(now, by, p.opt.Siren)
	}
}

// Order does an order whose code the caller has checked. A refused order changes nothing.
func (p *Panel) Order(now time.Time, o Order) Answer {
	if o.To == Disarmed {
		p.disarm(now, o.By)
		return Answer{Done: true}
	}
	mode, ok := strings.CutPrefix(o.To, armed)
	switch {
	case !ok:
		return Answer{Why: "unknown state: " + o.To}
	case !slices.Contains(p.opt.Modes, mode):
		return Answer{Why: "not in modes: " + mode}
	case p.saved.State == Pending || p.saved.State == Triggered || p.saved.Mode != "" && p.saved.Mode != mode:
		// An exit delay or a bypass for another mode would be a disarming without a code.
		return Answer{Why: "it is " + p.saved.State + ": disarm first"}
	case p.saved.Mode == "":
	case len(o.Bypass) > 0 && !slices.Equal(o.Bypass, p.saved.Bypass):
		return Answer{Why: "it is " + p.saved.State + ": disarm first, then bypass"}
	default: // in this mode already, or in its exit delay
		return Answer{Done: true}
	}
	for _, stream := range o.Bypass {
		if !slices.Contains(p.opt.Zones, stream) {
			return Answer{Why: "unknown stream to bypass: " + stream}
		}
	}
	if open := p.open(o.Bypass); len(open) > 0 {
		return Answer{Why: "open: " + strings.Join(open, ", ")}
	}
	p.saved.Mode, p.saved.Bypass = mode, slices.Clone(o.Bypass)
	p.leave(now, o.By)
	return Answer{Done: true}
}

// Observe takes the latest value of a stream of Ready or of the key switch. ok is false if
// the stream could not be read.
//
// Only a change of the key from one value to the other arms or disarms. So a start of the
// agent with the key at off does not disarm, nor does a contact that fails and works again.
// Values other than 0 and 1, such as those of a cut loop, have no effect.
func (p *Panel) Observe(now time.Time, stream string, value float64, ok bool) {
	if slices.Contains(p.opt.Ready, stream) {
		p.unready[stream] = !ok || value != 0
	}
	if stream != p.opt.Key || !ok || value != 0 && value != 1 {
		return
	}
	before := p.key
	p.key = value
	switch {
	case before == unknownKey || before == value:
	case value == 0:
		p.disarm(now, "key")
	default:
		if a := p.Order(now, Order{To: armed + p.opt.Modes[0], By: "key"}); !a.Done {
			p.effects.Refused = append(p.effects.Refused, a.Why)
		}
	}
}

// Status returns the state of the panel. The caller sets Locked.
func (p *Panel) Status() Status {
	return Status{State: p.saved.State, By: p.saved.By, Since: p.since, Until: p.until, Open: p.open(p.saved.Bypass),
		Bypass: slices.Clone(p.saved.Bypass)}
}

// open returns the streams of Ready that prevent arming, also those that were not read yet.
func (p *Panel) open(bypass []string) (open []string) {
	for _, stream := range p.opt.Ready {
		if unready, known := p.unready[stream]; (!known || unready) && !slices.Contains(bypass, stream) {
			open = append(open, stream)
		}
	}
	return open
}

// disarm ends the alarm and every delay. It silences rules that have run even after the
// siren time: their outputs may stay on for longer than that.
func (p *Panel) disarm(now time.Time, by string) {
	p.effects.Silence = append(p.effects.Silence, p.ran...)
	p.ran = nil
	if p.saved.State == Disarmed {
		return
	}
	p.saved.Mode, p.saved.Bypass, p.saved.Rules = "", nil, nil
	p.enter(now, Disarmed, by, 0)
}

// run adds rules to the effects, and remembers them for disarm.
func (p *Panel) run(rules ...string) {
	p.effects.Run = append(p.effects.Run, rules...)
	for _, rule := range rules {
		if !slices.Contains(p.ran, rule) {
			p.ran = append(p.ran, rule)
		}
	}
}

// leave begins the exit delay of the saved mode, or arms at once if there is none.
func (p *Panel) leave(now time.Time, by string) {
	if p.opt.Exit > 0 {
		p.enter(now, Arming, by, p.opt.Exit)
	} else {
		p.enter(now, armed+p.saved.Mode, by, 0)
	}
}

// trigger makes the panel triggered for the siren time, or without Rearm until somebody
// disarms. A panel in its exit delay is armed afterwards.
func (p *Panel) trigger(now time.Time, by string, siren time.Duration) {
	if !p.opt.Rearm {
		siren = 0
	}
	p.enter(now, Triggered, by, siren)
}

// stateAfterAlarm returns the state after the siren time: armed in the mode, or disarmed.
func (p *Panel) stateAfterAlarm() string {
	if p.saved.Mode == "" {
		return Disarmed
	}
	return armed + p.saved.Mode
}

// enter changes the state, for the time last; 0: until the next order or trip.
func (p *Panel) enter(now time.Time, state, by string, last time.Duration) {
	p.saved.State, p.saved.By = state, by
	p.since, p.until = now, time.Time{}
	if last > 0 {
		p.until = now.Add(last)
	}
	p.effects.Changes = append(p.effects.Changes, Change{At: now, State: state, By: by, For: last})
}
