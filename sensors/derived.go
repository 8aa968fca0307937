package sensors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A board passes the values of streams on to those that are derived from them. Most
// streams have nobody who wants their values.
type board struct {
	clock *clock.Timekeeper

	mu      sync.RWMutex
	derived map[string]*derived    // by the sensor
	readers map[string][]*derived  // by the stream that they are computed from
	events  map[string]measurement // the last value of each stream without a pace: the next may be long in coming
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

// publish passes a value on. It may be called from any goroutine, and waits for nothing.
func (b *board) publish(st *Stream, m measurement) {
	if st.Every == 0 {
		b.mu.Lock()
		b.events[st.Name] = m
		b.mu.Unlock()
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, d := range b.readers[st.Name] {
		d.take(st.Name, m)
	}
}

// add makes the device of a sensor that is derived. It is called before the sources of
// the sensor start, so that none of their values is missed.
func (b *board) add(spec *Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := newDerived(spec, b.clock)
	b.derived[spec.Name] = d
	for _, source := range spec.Derived.Sources {
		b.readers[source.Stream] = append(b.readers[source.Stream], d)
		if m, ok := b.events[source.Stream]; ok {
			d.take(source.Stream, m)
		}
	}
}

// remove forgets a sensor that has ended, and what its streams said.
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

// open returns the device of a sensor that is derived.
func (b *board) open(spec Spec) Sensor {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.derived[spec.Name]
}

// derived is the device of a sensor that is computed from other streams. It computes when
// each source with a pace has a new value: sources that are measured together make one
// value together, and none of a new and an old one.
type derived struct {
	*Derivation
	quantity string
	clock    *clock.Timekeeper
	wake     chan struct{} // has one: there is something in made

	mu     sync.Mutex
	inputs []input       // as Sources
	growth growth        // of a rate
	made   []measurement // at most maxMade
}

// input is what a source has said last.
type input struct {
	measurement
	known bool      // it has said something
	fresh bool      // and that was not computed with yet
	due   time.Time // it has failed if it says nothing until then; zero: it has no pace
}

// counts reports whether a computation at a time may use what the source has said: once if
// it has a pace, and only as long as it is not too old.
func (in *input) counts(source Source, at time.Time) bool {
	if source.Every == 0 {
		return in.known
	}
	return in.fresh && at.Sub(in.at.Monotonic()) <= staleAfter*source.Every
}

// maxMade is how many values may wait for the sampler. Beyond it the oldest go.
const maxMade = 100

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

// take takes a value of a source, and computes if it was the last one that was missing.
func (d *derived) take(stream string, m measurement) {
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
		ready = ready && in.counts(source, m.at.Monotonic())
	}
	if !ready {
		return
	}
	for i := range d.inputs {
		d.inputs[i].fresh = false
	}
	if v, ok, err := d.compute(m.at); ok || err != nil {
		d.make(measurement{v, err, m.at})
	}
}

// compute computes with what the sources have said; the caller holds mu. It is not ok if that makes no value,
// as the first one of a rate.
func (d *derived) compute(at clock.Stamp) (v float64, ok bool, err error) {
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

// make leaves a value for the sampler. The caller holds mu.
func (d *derived) make(m measurement) {
	if len(d.made) == maxMade {
		d.made = append(d.made[:0], d.made[1:]...)
	}
	d.made = append(d.made, m)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Next waits until a value was computed, or a source is too old.
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

// await returns when something was made, or after a time; 0: never for that alone.
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

// samples are what was computed since the last call, or the failure of a source that is
// too old. If there is nothing, the next source is too old after wait; 0: never.
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
			in.due = now.Add(source.Every) // it fails again then
			d.make(measurement{err: d.silence(i, now), at: stamp})
		case wait == 0 || left < wait:
			wait = left
		}
	}
	for _, m := range d.made {
		all = append(all, Sample{Quantity: d.quantity, Value: m.value, Err: m.err,
			Ago: max(0, now.Sub(m.at.Monotonic()))})
	}
	d.made = d.made[:0]
	return all, wait
}

// silence says that a source is too old.
func (d *derived) silence(i int, now time.Time) error {
	in, source := d.inputs[i], d.Sources[i]
	if !in.known {
		return fmt.Errorf("%s: no value yet", source.Stream)
	}
	return fmt.Errorf("%s: no value for %v", source.Stream, now.Sub(in.at.Monotonic()).Truncate(time.Second))
}

// Close does nothing: the device goes on to take values, until the board removes it.
func (d *derived) Close() error { return nil }
