package status

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/uplink"
)

// A Backlog is the part of the queue that the collector reads; a [queue.Queue] is one. Its
// methods may be called from any goroutine.
type Backlog interface {
	Boot() string
	Stats() queue.Stats
	Recent() []queue.Item
}

// An Uplink is the part of the link that the collector reads; an [uplink.Link] is one.
type Uplink interface {
	Status() uplink.Status
	States() []sensors.Reading
	Unheard() map[string]uint64
}

// Reactions are the outputs and the alarm panel. The methods may be called from any
// goroutine, and must not wait for hardware.
type Reactions interface {
	Outputs() []outputs.Status // in the order of the configuration
	Arming() *arming.Status    // nil: the configuration has no arming
}

// A Collector makes snapshots. Its methods may be called from any goroutine.
type Collector struct {
	opt       uplink.Options
	backlog   Backlog
	link      Uplink
	reactions Reactions // nil: there are none
	started   time.Time

	mu    sync.Mutex
	rings map[string]*ring // by stream, guarded by mu; a nil map: no history is kept
}

// NewCollector returns a collector for a node with these options of its link, which include
// its clock. reactions may be nil. If history is set it keeps the last hour of each stream:
// 400 bytes a stream.
func NewCollector(opt uplink.Options, backlog Backlog, link Uplink, reactions Reactions, history bool) *Collector {
	c := &Collector{opt: opt, backlog: backlog, link: link, reactions: reactions, started: time.Now()}
	if history {
		c.rings = map[string]*ring{}
	}
	return c
}

// Follow returns a collector for the same node after a change of its configuration. It
// keeps the histories of the streams that still exist, and the same reactions. The caller
// must pass no more readings to c.
func (c *Collector) Follow(opt uplink.Options, link Uplink, history bool) *Collector {
	next := NewCollector(opt, c.backlog, link, c.reactions, history)
	next.started = c.started
	if !history {
		return next
	}
	c.mu.Lock() // for the rings: a page may still read them
	defer c.mu.Unlock()
	for _, st := range opt.Streams {
		if r := c.rings[st.Name]; r != nil {
			copied := *r
			next.rings[st.Name] = &copied
		}
	}
	return next
}

// Observe adds a reading to the history, if one is kept. A reading that failed is a slot
// without a value.
func (c *Collector) Observe(r sensors.Reading) {
	if c.rings == nil { // set once, by NewCollector
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rings[r.Stream] == nil {
		c.rings[r.Stream] = &ring{}
	}
	v := r.Value
	if r.Err != "" {
		v = math.NaN()
	}
	c.rings[r.Stream].add(r.At.Uptime, v)
}

// Snapshot returns the present state of the node. Without history it is far smaller.
func (c *Collector) Snapshot(history bool) Snapshot {
	now := c.opt.Clock.Now()
	m := moment{now, time.Now(), c.opt.Clock}
	s := Snapshot{
		Time: now.Unix,
		Node: Node{ClientID: c.opt.ClientID, Title: c.opt.Title, Area: c.opt.Area, Version: c.opt.Version,
			Hardware: c.opt.Hardware,
			Boot:     c.backlog.Boot(), PID: os.Getpid(), Started: m.at(c.started)},
		Clock:   Clock{Quality: now.Clock.String(), Source: c.opt.Clock.Source()},
		Streams: c.streams(m, history),
		Events:  events(m, c.backlog.Recent()),
	}
	link := c.link.Status()
	s.Link = Link{Connected: link.Connected, Server: link.Server, MQTT: link.MQTT, Since: m.at(link.Since),
		Error:   link.LastError,
		ErrorAt: m.at(link.LastErrorAt), NextTry: m.at(link.NextTry), RoundTrip: link.RoundTrip.Seconds(),
		Held: link.Held, NoOrders: link.NoOrders, Unheard: c.link.Unheard()}
	if !link.CertExpires.IsZero() {
		s.Link.CertExpires = link.CertExpires.UnixMilli() // a calendar date: no conversion by the timekeeper
	}
	s.Queue = queueOf(m, c.backlog.Stats(), link)
	c.addReactions(&s, m)
	s.Problems = problems(&s)
	if c.opt.Problems != nil {
		s.Problems = append(s.Problems, c.opt.Problems()...)
	}
	return s
}

// streams are the configured streams with their latest readings.
func (c *Collector) streams(m moment, history bool) []Stream {
	latest := map[string]sensors.Reading{}
	for _, r := range c.link.States() {
		latest[r.Stream] = r
	}
	all := make([]Stream, len(c.opt.Streams))
	for i, st := range c.opt.Streams {
		s := Stream{Name: st.Name, Title: st.Title, Area: st.Area, Kind: st.Kind, Unit: st.Unit, Class: st.Class,
			Alarm:  st.Priority == sensors.Alarm,
			Sparse: st.Every == 0 || st.Filter.Report != (sensors.Report{})}
		if r, ok := latest[st.Name]; ok {
			s.State, s.Error, s.Seq, s.At = r.State, r.Err, r.Seq, m.stamped(r.At)
			if r.Err == "" && !math.IsNaN(r.Value) && !math.IsInf(r.Value, 0) { // JSON has no such numbers
				s.Value = &r.Value
			}
		}
		all[i] = s
	}
	if history {
		c.addHistories(all, m)
	}
	return all
}

// addHistories adds the last hour to each stream that has one. It copies the rings, so the
// lock is held only for a short time.
func (c *Collector) addHistories(all []Stream, m moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		if r := c.rings[all[i].Name]; r != nil {
			all[i].History = r.history(slotOf(m.stamp.Uptime))
		}
	}
}

// addReactions adds the outputs and the alarm panel.
func (c *Collector) addReactions(s *Snapshot, m moment) {
	s.Outputs = []Output{} // an empty list in JSON, not null
	if c.reactions == nil {
		return
	}
	called := map[string]*Stream{} // outputs and the panel get the titles of their streams
	for i := range s.Streams {
		called[s.Streams[i].Name] = &s.Streams[i]
	}
	for _, o := range c.reactions.Outputs() {
		out := outputOf(m, o)
		if st := called[o.Name]; st != nil {
			out.Title, out.Area = st.Title, st.Area
		}
		s.Outputs = append(s.Outputs, out)
	}
	if p := c.reactions.Arming(); p != nil {
		s.Arming = &Arming{State: p.State, By: p.By, Since: m.at(p.Since), Until: m.future(p.Until),
			Open: listOf(p.Open), Bypass: listOf(p.Bypass), LockedUntil: m.future(p.Locked)}
		if st := called[arming.StreamName]; st != nil {
			s.Arming.Title, s.Arming.Area = st.Title, st.Area
		}
	}
}

// outputOf converts an output; its times become Unix milliseconds.
func outputOf(m moment, o outputs.Status) Output {
	word := Off
	switch {
	case o.Err != "":
		word = Unknown
	case o.On:
		word = On
	}
	return Output{Name: o.Name, Class: o.Class, State: word, Error: o.Err, By: o.By, Since: m.at(o.Since),
		Until: m.future(o.Until), RestUntil: m.future(o.RestUntil), Commands: o.Commands}
}

// listOf returns a list that is never nil, so that JSON has [] for it.
func listOf(names []string) []string { return append([]string{}, names...) }

// events converts the events of the queue. Details that are not JSON are left out: they
// would make the whole snapshot invalid.
func events(m moment, items []queue.Item) []Event {
	all := make([]Event, len(items))
	for i, it := range items {
		all[i] = Event{At: m.stamped(it.At), Seq: it.Seq, Name: it.Event, Details: json.RawMessage(it.Details)}
		if !json.Valid(all[i].Details) {
			all[i].Details = json.RawMessage("{}")
		}
	}
	return all
}

// minRate is the lowest drain rate, in readings a second, for which the time left is
// calculated. A lower rate is noise.
const minRate = 0.2

// queueOf converts the state of the queue, and adds the drain rate of the link.
func queueOf(m moment, q queue.Stats, link uplink.Status) Queue {
	s := Queue{Backlog: q.Backlog, Memory: q.Memory, Rate: link.Rate, Delivered: link.Delivered, Skipped: link.Skipped,
		Dropped: q.Dropped,
		Missing: q.Missing, Aside: q.Rejected, Failing: q.Failing, Written: q.Written, WrittenToday: q.WrittenToday,
		Commits: q.Commits, CommitsToday: q.CommitsToday}
	if q.Oldest != (clock.Stamp{}) {
		s.Oldest = max(0, float64(m.stamp.Unix-m.stamped(q.Oldest))/1000)
	}
	switch {
	case q.Backlog == 0:
	case link.Connected && link.Rate-link.Produced >= minRate:
		s.Left = float64(q.Backlog) / (link.Rate - link.Produced)
	default:
		s.Left = -1
	}
	return s
}

// problems returns what is wrong, in sentences for the user. The list is never nil, so that
// JSON has [] for it. The findings of the start come last.
func problems(s *Snapshot) []string {
	list := []string{}
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if s.Queue.Failing {
		add("The disk fails or hangs: what waits is in memory only. The log says why.")
	}
	for _, o := range s.Outputs {
		if o.Error != "" {
			add("The state of output %s is unknown: %s.", o.Name, o.Error)
		}
	}
	if s.Link.Held != "" {
		add("The backlog is held: %s.", s.Link.Held)
	}
	if s.Link.NoOrders != "" {
		add("No orders arrive: %s.", s.Link.NoOrders)
	}
	if s.Queue.Aside > 0 {
		add("The broker refuses %d readings or events: see holdfast queue export --aside.", s.Queue.Aside)
	}
	if s.Clock.Quality != "ok" {
		add("The clock is %s: times may be wrong.", s.Clock.Quality)
	}
	if at := s.Link.CertExpires; at != 0 {
		if days := float64(at-s.Time) / 86_400_000; days < 0 {
			add("A certificate of the connection has expired.")
		} else if days < 30 {
			add("A certificate of the connection expires in %.0f days.", days)
		}
	}
	return list
}

// A moment converts times of three kinds to Unix milliseconds that fit together: a step of
// the clock moves all of them.
type moment struct {
	stamp clock.Stamp
	time  time.Time // the same, by Go's clock
	clock *clock.Timekeeper
}

// at converts a time of this process; the zero time becomes 0.
func (m moment) at(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return m.stamp.Unix - m.time.Sub(t).Milliseconds()
}

// future converts a time that is still to come; one that has passed becomes 0, and so does
// the zero time.
func (m moment) future(t time.Time) int64 {
	if !t.After(m.time) {
		return 0
	}
	return m.at(t)
}

// stamped converts a stamp, which may be from an earlier boot.
func (m moment) stamped(at clock.Stamp) int64 {
	if age, known := m.clock.Age(at); known {
		return m.stamp.Unix - age.Milliseconds()
	}
	return m.clock.Resolve(at).Unix
}
