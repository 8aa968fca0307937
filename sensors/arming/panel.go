package arming

import (
	"slices"
	"strings"
	"time"
)

// A Panel is the state of the alarm: readings, orders and times go in, and what changes
// comes out of [Panel.Take]. It reads no clock and waits for nothing, so a file can be
// played through it with the times of the file. It belongs to one goroutine at a time.
//
// Times are only compared with each other: where they have a monotonic part, no delay
// depends on the wall clock.
type Panel struct {
	opt     Options
	saved   Saved
	since   time.Time
	until   time.Time       // when Advance has something to do; zero: never
	unready map[string]bool // by stream of Ready, if it was read: its value is not 0, or it failed
	key     float64         // the last value of the key switch; unknownKey: there was none
	ran     []string        // rules that have run since somebody disarmed; a start makes outputs safe anyway
	effects Effects         // since the last Take
}

const unknownKey = -1

// Effects are what a panel asks for.
type Effects struct {
	Changes []Change // of the state, oldest first
	Run     []string // rules whose actions are due
	Silence []string // rules that have run: what they switched on goes off
	Refused []string // why the key switch did not get what it asked for: "open: front_door"
}

// A Change is one reading of the stream of the state.
type Change struct {
	At    time.Time
	State string
	By    string        // the cause: "rule:intruder", "code:anna", "key", "exit", "siren", "start"
	For   time.Duration // until it changes by itself; 0: it does not
}

// A Trip is a rule that is armed and met.
type Trip struct {
	Rule     string
	Delay    time.Duration // the entry delay; 0: none
	Follower bool          // all of its streams are in Follow
}

// NewPanel returns a panel as it was saved, at the start of the agent. age is how long ago
// it was saved, if that is known: it is within one boot of the kernel.
//
// Pending and triggered become triggered, and the rules that waited or had run, run: a
// power cut silences no siren. What is left of the siren time counts if it is known; and
// where that time is over, as it may be without Rearm, nothing runs again. This is about the
// saved alarm alone: a rule that is met by the first readings after the start trips anew.
func NewPanel(opt Options, saved Saved, now time.Time, age time.Duration, known bool) *Panel {
	p := &Panel{opt: opt, saved: saved.clone(), since: now, unready: map[string]bool{}, key: unknownKey}
	switch p.saved.State {
	case Arming:
		p.leave(now, "start")
	case Pending, Triggered:
		left := opt.Siren
		if known && p.saved.State == Triggered {
			left = min(left-age, opt.Siren) // a clock that went back makes it no longer
		}
		if left > 0 {
			p.run(p.saved.Rules...)
		}
		left = max(left, time.Millisecond) // then Advance ends it
		p.trigger(now, "start", left)
	default:
		p.enter(now, p.saved.State, "start", 0)
	}
	return p
}

// Change makes other options those of the panel. Its state stays, and so does a time that
// runs; the key switch and the streams of Ready are read anew.
func (p *Panel) Change(opt Options) {
	p.opt, p.unready, p.key = opt, map[string]bool{}, unknownKey
}

// Take returns what the panel has asked for since the last call.
func (p *Panel) Take() Effects {
	e := p.effects
	p.effects = Effects{}
	return e
}

// Saved is what has to be on disk. At is left to the caller.
func (p *Panel) Saved() Saved { return p.saved.clone() }

// State is one of States.
func (p *Panel) State() string { return p.saved.State }

// Armed is the mode in force, also while it is pending or triggered; empty: rules that are
// armed do not look.
func (p *Panel) Armed() string {
	if p.saved.State == Arming {
		return ""
	}
	return p.saved.Mode
}

// IsBypassed reports whether a stream is left out until somebody disarms.
func (p *Panel) IsBypassed(stream string) bool { return slices.Contains(p.saved.Bypass, stream) }

// Next is when Advance has something to do; zero: never.
func (p *Panel) Next() time.Time { return p.until }

// Advance does what is due at now. now is never before that of an earlier call.
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
		p.enter(at, p.rest(), "siren", 0)
	}
}

// Trip tells of a rule that is armed and has just been met. Its actions run at once,
// unless an entry delay is due first:
//
//   - A rule with an entry delay makes the panel pending. A delay that runs is neither
//     extended nor shortened by another one.
//   - A rule without one triggers, also while another delay runs; but a follower waits for
//     the end of that delay, because its streams are on the way from the door to the keypad.
//   - A panel that is triggered knows no delay, and its siren time begins anew.
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

// Order does what somebody orders, whose code was accepted. Refused orders change nothing.
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
		// In another mode an exit delay and a bypass would be a disarming without a code.
		return Answer{Why: "it is " + p.saved.State + ": disarm first"}
	case p.saved.Mode == "":
	case len(o.Bypass) > 0 && !slices.Equal(o.Bypass, p.saved.Bypass):
		return Answer{Why: "it is " + p.saved.State + ": disarm first, then bypass"}
	default: // armed so already, or on the way there
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

// Observe takes the latest value of a stream of Ready or of the key switch. ok: it could
// be read.
//
// The key arms and disarms by its changes alone, from one value to the other: a start of
// the agent with the key at off does not disarm, nor does a contact that fails and comes
// back. Other values, such as those of a loop that is cut, do nothing.
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

// Status is the panel for a person. Locked is left to the caller.
func (p *Panel) Status() Status {
	return Status{State: p.saved.State, By: p.saved.By, Since: p.since, Until: p.until, Open: p.open(p.saved.Bypass),
		Bypass: slices.Clone(p.saved.Bypass)}
}

// open lists the streams of Ready that keep the panel from being armed: also those of
// which nothing is known.
func (p *Panel) open(bypass []string) (open []string) {
	for _, stream := range p.opt.Ready {
		if unready, known := p.unready[stream]; (!known || unready) && !slices.Contains(bypass, stream) {
			open = append(open, stream)
		}
	}
	return open
}

// disarm ends everything. Rules that have run are silenced, also where the siren time is
// over: an output may have a longer time than that.
func (p *Panel) disarm(now time.Time, by string) {
	p.effects.Silence = append(p.effects.Silence, p.ran...)
	p.ran = nil
	if p.saved.State == Disarmed {
		return
	}
	p.saved.Mode, p.saved.Bypass, p.saved.Rules = "", nil, nil
	p.enter(now, Disarmed, by, 0)
}

// run has the actions of rules run.
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

// trigger makes the panel triggered for a time, or until somebody disarms. A panel that
// was about to be armed is armed afterwards.
func (p *Panel) trigger(now time.Time, by string, siren time.Duration) {
	if !p.opt.Rearm {
		siren = 0
	}
	p.enter(now, Triggered, by, siren)
}

// rest is the state without an alarm.
func (p *Panel) rest() string {
	if p.saved.Mode == "" {
		return Disarmed
	}
	return armed + p.saved.Mode
}

// enter makes the panel another state, for a time; 0: until something happens.
func (p *Panel) enter(now time.Time, state, by string, last time.Duration) {
	p.saved.State, p.saved.By = state, by
	p.since, p.until = now, time.Time{}
	if last > 0 {
		p.until = now.Add(last)
	}
	p.effects.Changes = append(p.effects.Changes, Change{At: now, State: state, By: by, For: last})
}
