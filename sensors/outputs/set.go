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

	// Observe takes each change at once, in memory alone: rules, the link, what a person sees.
	// Record takes it for the history, and may wait for room in memory; Report takes what
	// happened to the outputs themselves. Each is called by one goroutine at a time, and none of them
	// holds up an output.
	Observe func(sensors.Reading)
	Record  func(sensors.Reading)
	Report  func(sensors.Event)

	Clock *clock.Timekeeper
	Log   *slog.Logger
	Seqs  *sensors.Seqs // nil: nobody else makes streams

	// Watch returns the function by which an output says that it makes progress, and within
	// what time it says so again; 0: nothing is due, or it has ended. nil: nobody watches.
	Watch func(output string) (progress func(within time.Duration))
}

// A Set is the outputs that run, and can be given other ones while it does. Change and Wait
// belong to one goroutine; the other methods may be called from any, and do not wait.
//
// Each output has a goroutine of its own. It waits for its line, which is bounded, and
// for nothing else.
type Set struct {
	to    Wiring
	locks interlocks

	observing, recording *serial.Executor // nil before the first Change
	logging              *serial.Executor // likewise; see output.later

	mu       sync.RWMutex // guards what follows; never held while anything is waited for
	running  map[string]*output
	order    []string                   // names in the order of the file
	stopping map[string]bool            // names of outputs that a reload is about to start again
	waiting  map[string][]Order         // for these, of this machine; at most maxOrders for each
	confirms map[string]sensors.Reading // by stream: the latest of those that confirm something
	heeded   map[string]bool            // streams that confirm something
	down     time.Time                  // since when the link is down; zero: it is connected
}

// NewSet returns a set without outputs, whose link is down.
func NewSet(to Wiring) *Set {
	if to.Seqs == nil {
		to.Seqs = sensors.NewSeqs()
	}
	return &Set{to: to, running: map[string]*output{}, down: time.Now(),
		confirms: map[string]sensors.Reading{}}
}

// Change makes specs the outputs that run, until ctx is done. An output whose spec is the
// same as before keeps its level and its timers. The others go to their safe level and give
// their lines back; then those that are new begin at theirs. The numbers of a stream go on.
//
// between is called when the old outputs have ended, their last readings have been observed,
// and before the new ones begin. kept are those that go on.
func (s *Set) Change(ctx context.Context, specs []Spec, between func(kept []Spec)) {
	s.startExecutors()
	kept, ending := s.sort(specs)
	for _, o := range ending {
		o.stop()
	}
	for _, o := range ending {
		<-o.ended
	}
	s.observing.Flush()
	between(kept)
	for _, refused := range s.startNew(ctx, specs) { // not under the lock: who is told may ask again
		refused.answer("stopped")
	}
}

// startNew starts those of specs that do not run, with the orders that have waited for them. It
// returns the orders that they do not take: ctx is done, or there are too many.
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
	// Before the lock is given back: an order that comes now is behind them.
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

// sort takes those out of the set that do not go on.
func (s *Set) sort(specs []Spec) (kept []Spec, ending []*output) {
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

// startLocked starts an output that does not run.
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
	s.observing, s.recording, s.logging = serial.New(), serial.New(), serial.New()
	go s.observing.Run()
	go s.recording.Run()
	go s.logging.Run()
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
		s.logging.Close()
	}
}

// Do does an order, or refuses it; its Answer is told which. While a reload changes the output,
// an order of this machine waits for it: a rule fires once, and nobody would repeat it. One that
// came by MQTT is refused, because whoever has sent it is told.
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

// keep has an order wait for an output that a reload is changing, behind those that wait
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

// handOver takes the orders that an output has not done at its end. If a reload starts it again
// they wait for that, before all that have come since; else they are refused.
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

// Observe takes a reading of any stream: some confirm what outputs do. It is called for
// every reading, and before the disk is touched.
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
	s.poke(func(spec Spec) bool { return spec.Confirm != nil && spec.Confirm.Stream == r.Stream })
}

// LinkChanged says whether the link to the broker is up.
func (s *Set) LinkChanged(connected bool) {
	s.mu.Lock()
	switch {
	case connected:
		s.down = time.Time{}
	case s.down.IsZero():
		s.down = time.Now()
	}
	s.mu.Unlock()
	s.poke(func(spec Spec) bool { return spec.LinkLost != nil })
}

// poke has outputs look what is due.
func (s *Set) poke(concerns func(Spec) bool) {
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

// linkDown is since when the link is down; zero: it is up.
func (s *Set) linkDown() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.down
}

// latest is the latest reading of a stream that confirms something.
func (s *Set) latest(stream string) (r sensors.Reading, heard bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, heard = s.confirms[stream]
	return r, heard
}

// saysWhat is what a stream says, for a message.
func (s *Set) saysWhat(stream string) string {
	switch r, heard := s.latest(stream); {
	case !heard:
		return "nothing yet"
	case r.Err != "":
		return "nothing: " + r.Err
	default:
		return r.State
	}
}

// record passes a reading on. The number is given by the goroutine that observes, so that
// numbers are in the order of the readings.
func (s *Set) record(r sensors.Reading) {
	s.observing.Put(func() {
		r.Seq = s.to.Seqs.Next(r.Stream)
		s.to.Observe(r)
		if !s.recording.Put(func() { s.to.Record(r) }) {
			s.logging.Put(func() {
				s.to.Log.Error("a change of an output is not in the history: the disk hangs", "output", r.Stream, "seq",
					r.Seq)
			})
		}
	})
}

// report passes an event on, in the order of the readings.
func (s *Set) report(e sensors.Event) {
	s.observing.Put(func() { s.recording.Put(func() { s.to.Report(e) }) })
}

// Streams are the streams of outputs, in the order of the file.
func Streams(specs []Spec) []sensors.Stream {
	all := make([]sensors.Stream, 0, len(specs))
	for _, spec := range specs {
		all = append(all, spec.Stream)
	}
	return slices.Clip(all)
}
