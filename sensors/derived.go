package sensors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A board passes the values of streams on to the streams that are derived from them. No
// stream is derived from most streams.
type board struct {
	clock *clock.Timekeeper

	mu      sync.RWMutex           // guards the maps
	derived map[string]*derived    // by the name of the derived sensor
	readers map[string][]*derived  // by the name of the source stream
	events  map[string]measurement // the last value of each stream without an interval: the next may take days
}

// A measurement is a value of a stream, or the reason why there is none.
type measurement struct {
	value float64
	err   error
	at    clock.Stamp
}

func newBoard(keeper *clock.Timekeeper) *board {
	return &board{clock: keeper, derived: map[string]*derived{}, readers: map[string][]*derived{},
		events: map[string]measurement{}}
}

// publish passes a value on. It may be called from any goroutine and does not block.
func (b *board) publish(st *Stream, m measurement) {
	if st.Every == 0 {
		b.mu.Lock()
		b.events[st.Name] = m
		b.mu.Unlock()
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, d := range b.readers[st.Name] {
		d.addInput(st.Name, m)
	}
}

// add makes the device of a derived sensor. It has to be called before the sensor's sources
// start, so that none of their values is missed.
func (b *board) add(spec *Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := newDerived(spec, b.clock)
	b.derived[spec.Name] = d
	for _, source := range spec.Derived.Sources {
		b.readers[source.Stream] = append(b.readers[source.Stream], d)
		if m, ok := b.events[source.Stream]; ok {
			d.addInput(source.Stream, m)
		}
	}
}

// remove forgets a sensor that has ended, and the last values of its streams.
func (b *board) remove(spec *Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, st := range spec.Streams {
		delete(b.events, st.Name)
	}
	d := b.derived[spec.Name]
	if d == nil {
		return
	}
	delete(b.derived, spec.Name)
	for _, source := range spec.Derived.Sources {
		var others []*derived
		for _, r := range b.readers[source.Stream] {
			if r != d {
				others = append(others, r)
			}
		}
		if b.readers[source.Stream] = others; others == nil {
			delete(b.readers, source.Stream)
		}
	}
}

// open returns the device of a derived sensor.
func (b *board) open(spec Spec) Sensor {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.derived[spec.Name]
}

// derived is the device of a sensor that is computed from other streams. It computes a
// value when each source with an interval has a new value: values that are measured
// together are used together, and never a new one with an old one.
type derived struct {
	*Derivation
	quantity string
	clock    *clock.Timekeeper
	wake     chan struct{} // has a token if results is not empty; capacity 1

	mu      sync.Mutex    // guards what follows
	inputs  []input       // in the order of Sources
	growth  growth        // of a rate
	results []measurement // for the sampler, oldest first; at most maxResults
}

// input is the last value of a source.
type input struct {
	measurement
	known bool      // there is a value
	fresh bool      // the value was not used yet
	due   time.Time // the source has failed if it has no new value by then; zero: it has no interval
}

// isUsable reports whether a computation at the time at may use the value of the source. A
// value of a source with an interval is used once, and only if it is not too old.
func (in *input) isUsable(source Source, at time.Time) bool {
	if source.Every == 0 {
		return in.known
	}
	return in.fresh && at.Sub(in.at.Monotonic()) <= staleAfter*source.Every
}

// maxResults is how many values may wait for the sampler; the oldest are dropped.
const maxResults = 100

func newDerived(spec *Spec, keeper *clock.Timekeeper) *derived {
	d := &derived{Derivation: spec.Derived, quantity: spec.Streams[0].Quantity.Name, clock: keeper,
		wake: make(chan struct{}, 1), inputs: make([]input, len(spec.Derived.Sources))}
	now := keeper.Now().Monotonic()
	for i, source := range d.Sources {
		if source.Every > 0 {
			d.inputs[i].due = now.Add(staleAfter * source.Every)
		}
	}
	return d
}

// addInput stores the value of a source, and computes a result if no other input is missing.
func (d *derived) addInput(stream string, m measurement) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ready := true
	for i, source := range d.Sources {
		in := &d.inputs[i]
		if source.Stream == stream {
			in.measurement, in.known, in.fresh = m, true, true
			if source.Every > 0 {
				in.due = m.at.Monotonic().Add(staleAfter * source.Every)
			}
		}
		ready = ready && in.isUsable(source, m.at.Monotonic())
	}
	if !ready {
		return
	}
	for i := range d.inputs {
		d.inputs[i].fresh = false
	}
	if v, ok, err := d.computeLocked(m.at); ok || err != nil {
		d.addResultLocked(measurement{v, err, m.at})
	}
}

// computeLocked computes a value from the inputs. ok is false if there is no value yet, as
// for the first input of a rate. The caller holds mu.
func (d *derived) computeLocked(at clock.Stamp) (v float64, ok bool, err error) {
	values := make([]float64, len(d.inputs))
	for i, in := range d.inputs {
		if in.err != nil {
			return 0, false, fmt.Errorf("%s: %w", d.Sources[i].Stream, in.err)
		}
		values[i] = in.value
	}
	if d.Formula == Rate {
		v, ok = d.growth.rate(d.Derivation, values[0], at.Monotonic())
		return v, ok, nil
	}
	v, err = d.Compute(values)
	return v, err == nil, err
}

// addResultLocked stores a value for the sampler. The caller holds mu.
func (d *derived) addResultLocked(m measurement) {
	if len(d.results) == maxResults {
		d.results = append(d.results[:0], d.results[1:]...)
	}
	d.results = append(d.results, m)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Next waits until a value was computed or a source is too old. It returns an error only if
// ctx is done: a source that failed is a sample with Err.
func (d *derived) Next(ctx context.Context) ([]Sample, error) {
	for {
		samples, wait := d.samples()
		if len(samples) > 0 {
			return samples, nil
		}
		if err := d.await(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// await returns when there is a result, or after limit; 0: without a limit.
func (d *derived) await(ctx context.Context, limit time.Duration) error {
	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-d.wake:
	case <-late:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// samples returns the results since the last call, and a failure for each source that is
// too old. If all is empty, the next source is too old after wait; 0: none will be.
func (d *derived) samples() (all []Sample, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stamp := d.clock.Now()
	now := stamp.Monotonic()
	for i := range d.inputs {
		in, source := &d.inputs[i], d.Sources[i]
		switch left := in.due.Sub(now); {
		case in.due.IsZero():
		case left <= 0:
			in.due = now.Add(source.Every) // the next failure, if it still has no value
			d.addResultLocked(measurement{err: d.staleError(i, now), at: stamp})
		case wait == 0 || left < wait:
			wait = left
		}
	}
	for _, m := range d.results {
		all = append(all, Sample{Quantity: d.quantity, Value: m.value, Err: m.err,
			Ago: max(0, now.Sub(m.at.Monotonic()))})
	}
	d.results = d.results[:0]
	return all, wait
}

// staleError says that source i has sent no value for too long. The caller holds mu.
func (d *derived) staleError(i int, now time.Time) error {
	in, source := d.inputs[i], d.Sources[i]
	if !in.known {
		return fmt.Errorf("%s: no value yet", source.Stream)
	}
	return fmt.Errorf("%s: no value for %v", source.Stream, now.Sub(in.at.Monotonic()).Truncate(time.Second))
}

// Close does nothing: the device still receives inputs until the board removes it.
func (d *derived) Close() error { return nil }
