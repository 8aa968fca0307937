package outputs

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/serial"
)

// Wiring is what the outputs are connected to.
type Wiring struct {
	Open Open // opens a line; it may hang

	// Observe gets each change at once and must not block: for rules, the link and the status.
	// Record gets it for the history, and may wait for room in memory. Report gets the events
	// of the outputs. Each is called by one goroutine at a time, and no output waits for it.
	Observe func(sensors.Reading)
	Record  func(sensors.Reading)
	Report  func(sensors.Event)

	Clock *clock.Timekeeper
	Log   *slog.Logger  // must not block: an output writes to it before it tries its line again
	Seqs  *sensors.Seqs // nil: nobody else makes streams

	// Watch returns a function for the watchdog. The output calls it when it makes progress,
	// with the time within which it will call again; 0: it is not watched, because nothing is
	// due or it has ended. nil: there is no watchdog.
	Watch func(output string) (progress func(within time.Duration))
}

// A Set runs a set of outputs, which can be replaced while it runs. Only one goroutine may
// call Change and Wait; the other methods may be called from any and, except for Safe, do
// not block.
//
// Each output has a goroutine of its own. It waits only for its line, and each of these
// waits has a time limit.
type Set struct {
	to    Wiring
	locks interlocks

	observing, recording *serial.Executor // nil before the first Change

	mu       sync.RWMutex // guards what follows; never held while anything is waited for
	running  map[string]*output
	order    []string                   // names in the order of the file
	stopping map[string]bool            // names of outputs that a reload is about to start again
	waiting  map[string][]Order         // for these, of this machine; at most maxOrders for each
	confirms map[string]sensors.Reading // by stream: the latest of those that confirm something
	heeded   map[string]bool            // streams that confirm something
	down     time.Time                  // since when the link has been down; zero: it is connected
}

// NewSet returns a set without outputs, whose link is down.
func NewSet(to Wiring) *Set {
	if to.Seqs == nil {
		to.Seqs = sensors.NewSeqs()
	}
	return &Set{to: to, running: map[string]*output{}, down: time.Now(),
		confirms: map[string]sensors.Reading{}}
}

// Change runs the outputs in specs, until ctx is done. An output whose spec has not changed
// keeps its level and its timers. The others go to their safe level and release their
// lines; then new outputs start at their safe level. The sequence numbers of a stream
// continue.
//
// between is called after the old outputs have ended and their last readings have been
// observed, and before the new ones start. kept are the outputs that did not change.
func (s *Set) Change(ctx context.Context, specs []Spec, between func(kept []Spec)) {
	s.startExecutors()
	kept, ending := s.split(specs)
	for _, o := range ending {
		o.stop()
	}
	for _, o := range ending {
		<-o.ended
	}
	s.observing.Flush()
	between(kept)
	for _, refused := range s.startNew(ctx, specs) { // without the lock: an Answer may call Do
		refused.answer("stopped")
	}
}

// startNew starts the outputs in specs that do not run, and gives them the orders that have
// waited for them. It returns the orders that are refused: ctx is done, or there are too many.
func (s *Set) startNew(ctx context.Context, specs []Spec) (refused []Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order, s.stopping, s.heeded = nil, nil, map[string]bool{}
	for _, spec := range specs {
		s.order = append(s.order, spec.Stream.Name)
		if spec.Confirm != nil {
			s.heeded[spec.Confirm.Stream] = true
		}
		if s.running[spec.Stream.Name] == nil {
			s.startLocked(ctx, spec)
		}
	}
	// The lock is still held: an order that comes meanwhile is put behind these.
	for name, orders := range s.waiting {
		o, surplus := s.running[name], max(len(orders)-maxOrders, 0) // of handOver
		refused = append(refused, orders[:surplus]...)
		for _, order := range orders[surplus:] {
			if o.inbox.put(order, o.spec.Safe) != "" {
				refused = append(refused, order)
			}
		}
	}
	s.waiting = nil
	return refused
}

// split removes the outputs that have changed or are not in specs from the set, and returns
// them and the specs of those that stay.
func (s *Set) split(specs []Spec) (kept []Spec, ending []*output) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := map[string]bool{}
	s.stopping, s.waiting = map[string]bool{}, map[string][]Order{}
	for _, spec := range specs {
		name := spec.Stream.Name
		if o := s.running[name]; o != nil && reflect.DeepEqual(o.spec, spec) {
			same[name], kept = true, append(kept, spec)
		}
		s.stopping[name] = !same[name]
	}
	for name, o := range s.running {
		if !same[name] {
			ending = append(ending, o)
			delete(s.running, name)
		}
	}
	return kept, ending
}

// startLocked starts an output that does not run. The caller holds mu.
func (s *Set) startLocked(parent context.Context, spec Spec) {
	o := newOutput(spec, s)
	ctx, stop := context.WithCancel(parent)
	o.stop = stop
	s.running[spec.Stream.Name] = o
	s.locks.add(spec.Stream.Name, spec.Interlock)
	go func() {
		defer stop()
		o.run(ctx)
	}()
}

// startExecutors starts what passes readings on, once.
func (s *Set) startExecutors() {
	if s.observing != nil {
		return
	}
	s.observing, s.recording = serial.New(), serial.New()
	go s.observing.Run()
	go s.recording.Run()
}

// Wait waits until every output has ended, because the context of Change is done, and
// everything is recorded.
func (s *Set) Wait() {
	s.mu.RLock()
	running := s.running
	s.mu.RUnlock()
	for _, o := range running { // nobody changes it: Change belongs to this goroutine
		<-o.ended
	}
	if s.observing != nil {
		s.observing.Close()
		s.recording.Close()
	}
}

// Do passes an order to its output; the result goes to the order's Answer. While a reload
// changes the output, an order of this machine waits, because a rule fires once and does not
// repeat it. An order that came by MQTT is refused then: its sender gets the answer and can
// repeat it.
func (s *Set) Do(order Order) {
	s.mu.RLock()
	o, stopping := s.running[order.Output], s.stopping[order.Output]
	s.mu.RUnlock()
	switch {
	case o != nil:
		if refused := o.inbox.put(order, o.spec.Safe); refused != "" {
			order.answer(refused)
		}
	case !stopping:
		order.answer("unknown output")
	default:
		s.keep(order)
	}
}

// keep stores an order for an output that a reload is changing, behind those that wait
// already.
func (s *Set) keep(order Order) {
	s.mu.Lock()
	name := order.Output
	over, room := !s.stopping[name], len(s.waiting[name]) < maxOrders && !order.Remote
	if !over && room {
		s.waiting[name] = append(s.waiting[name], order)
	}
	s.mu.Unlock()
	switch {
	case over: // since Do has checked
		s.Do(order)
	case !room:
		order.answer("reload: the output is being changed")
	}
}

// handOver takes the orders that an output had not done when it ended. If a reload starts the
// output again, the orders of this machine wait for that, in front of those that have come
// since. All others are refused.
func (s *Set) handOver(name string, orders []Order) {
	var mine, refused []Order
	s.mu.Lock()
	for _, order := range orders {
		if s.stopping[name] && !order.Remote {
			mine = append(mine, order)
		} else {
			refused = append(refused, order)
		}
	}
	if len(mine) > 0 {
		s.waiting[name] = append(mine, s.waiting[name]...)
	}
	s.mu.Unlock()
	for _, order := range refused {
		order.answer("stopped")
	}
}

// Observe takes a reading of any stream: some streams confirm outputs. The agent calls it for
// every reading, before it writes the reading to disk.
func (s *Set) Observe(r sensors.Reading) {
	s.mu.RLock()
	heeded := s.heeded[r.Stream]
	s.mu.RUnlock()
	if !heeded {
		return
	}
	s.mu.Lock()
	s.confirms[r.Stream] = r
	s.mu.Unlock()
	s.notify(func(spec Spec) bool { return spec.Confirm != nil && spec.Confirm.Stream == r.Stream })
}

// LinkChanged tells the set whether the link to the broker is up.
func (s *Set) LinkChanged(connected bool) {
	s.mu.Lock()
	switch {
	case connected:
		s.down = time.Time{}
	case s.down.IsZero():
		s.down = time.Now()
	}
	s.mu.Unlock()
	s.notify(func(spec Spec) bool { return spec.LinkLost != nil })
}

// notify wakes the outputs for which concerns is true.
func (s *Set) notify(concerns func(Spec) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.running {
		if concerns(o.spec) {
			o.inbox.notify()
		}
	}
}

// Status returns the outputs as they are now, in the order of the file.
func (s *Set) Status() (all []Status) {
	s.mu.RLock()
	running := make([]*output, 0, len(s.order))
	for _, name := range s.order {
		if o := s.running[name]; o != nil {
			running = append(running, o)
		}
	}
	s.mu.RUnlock()
	for _, o := range running {
		all = append(all, o.snapshot())
	}
	return all
}

// linkDown returns since when the link has been down; zero: it is up.
func (s *Set) linkDown() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.down
}

// latest returns the latest reading of a confirming stream; heard is false if there is none.
func (s *Set) latest(stream string) (r sensors.Reading, heard bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, heard = s.confirms[stream]
	return r, heard
}

// stateText returns the latest state of a confirming stream, for a message.
func (s *Set) stateText(stream string) string {
	switch r, heard := s.latest(stream); {
	case !heard:
		return "nothing yet"
	case r.Err != "":
		return "nothing: " + r.Err
	default:
		return r.State
	}
}

// record passes a reading on. The goroutine of observing gives it its sequence number, so
// that the numbers are in the order of the readings.
func (s *Set) record(r sensors.Reading) {
	s.observing.Put(func() {
		r.Seq = s.to.Seqs.Next(r.Stream)
		s.to.Observe(r)
		if !s.recording.Put(func() { s.to.Record(r) }) {
			s.to.Log.Error("a change of an output is not in the history: the disk hangs", "output", r.Stream, "seq", r.Seq)
		}
	})
}

// report passes an event on, in the order of the readings.
func (s *Set) report(e sensors.Event) {
	s.observing.Put(func() { s.recording.Put(func() { s.to.Report(e) }) })
}

// Streams returns the streams of outputs, in the order of specs.
func Streams(specs []Spec) []sensors.Stream {
	all := make([]sensors.Stream, 0, len(specs))
	for _, spec := range specs {
		all = append(all, spec.Stream)
	}
	return slices.Clip(all)
}
