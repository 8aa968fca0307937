package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"
)

const (
	measureTimeout = 10 * time.Second // for one measurement of a paced sensor
	retryFirst     = time.Second      // before a sensor that failed is opened again
	retryMost      = 15 * time.Second // or the sensor's own pace, if that is longer
)

// Wiring is what the sensors are connected to. Its functions are called from
// many goroutines.
type Wiring struct {
	Open   Open                                         // opens a device
	Record func(Reading)                                // takes each reading
	Report func(event string, at Stamp, details string) // takes what happened to the sensors themselves; details is a JSON object
	Clock  *Timekeeper
	Log    *slog.Logger
}

// Run samples every sensor until ctx is done. A sensor that fails, hangs up or
// panics is closed, opened again, and concerns no other.
func Run(ctx context.Context, specs []Spec, to Wiring) error {
	var all sync.WaitGroup
	for _, spec := range specs {
		s := newSampler(spec, to)
		all.Go(func() { s.run(ctx) })
	}
	all.Wait()
	return ctx.Err()
}

// A sampler keeps one sensor going.
type sampler struct {
	spec    Spec
	to      Wiring
	log     *slog.Logger
	streams map[string]*stream // by quantity
	failing bool               // said in the log, until it answers again
}

// stream is the running state of one stream.
type stream struct {
	Stream
	seq     uint64
	failing bool // its last reading was a failure
}

func newSampler(spec Spec, to Wiring) *sampler {
	s := &sampler{spec: spec, to: to, log: to.Log.With("sensor", spec.Name), streams: map[string]*stream{}}
	for _, st := range spec.Streams {
		s.streams[st.Quantity.Name] = &stream{Stream: st}
	}
	return s
}

func (s *sampler) run(ctx context.Context) {
	for wait := retryFirst; ; wait = min(2*wait, max(retryMost, s.spec.Every)) {
		good, err := s.sample(ctx)
		if ctx.Err() != nil {
			return
		}
		s.fail(err)
		if good {
			wait = retryFirst
		}
		if !sleep(ctx, max(wait, s.spec.Every)) {
			return
		}
	}
}

// sample opens the sensor and reports what it measures until it fails. It says
// whether there was at least one good sample.
func (s *sampler) sample(ctx context.Context) (good bool, err error) {
	sensor, err := s.openSensor(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, sensor.Close()) }()
	for due := time.Now(); ; due = s.next(due) {
		if !sleep(ctx, time.Until(due)) {
			return good, ctx.Err()
		}
		samples, err := s.measure(ctx, sensor)
		if err != nil {
			return good, err
		}
		good = s.report(samples) || good
	}
}

// next is when to measure again: on the beat, without catching up on the beats
// that a slow measurement missed.
func (s *sampler) next(due time.Time) time.Time {
	if s.spec.Every == 0 {
		return time.Now() // Next waits for itself
	}
	if late := time.Since(due); late > s.spec.Every {
		due = due.Add(late.Truncate(s.spec.Every))
	}
	return due.Add(s.spec.Every)
}

func (s *sampler) openSensor(ctx context.Context) (sensor Sensor, err error) {
	defer func() { err = errors.Join(err, panicked(recover())) }()
	return s.to.Open(ctx, s.spec)
}

// measure asks for samples, bounded in time where the sensor has a pace.
func (s *sampler) measure(ctx context.Context, sensor Sensor) (samples []Sample, err error) {
	defer func() { err = errors.Join(err, panicked(recover())) }()
	if s.spec.Every > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, measureTimeout)
		defer cancel()
	}
	return sensor.Next(ctx)
}

// panicked makes a driver's panic that driver's failure. Third-party drivers
// index into what a bus returned; that must not end the agent.
func panicked(p any) error {
	if p == nil {
		return nil
	}
	return fmt.Errorf("driver panicked: %v\n%s", p, debug.Stack())
}

// report makes readings of samples. It says whether one of them was good.
func (s *sampler) report(samples []Sample) (good bool) {
	at := s.to.Clock.Now()
	for _, sample := range samples {
		st := s.streams[sample.Quantity]
		if st == nil {
			continue // a quantity that no stream was configured for
		}
		err := sample.Err
		if err == nil && (math.IsNaN(sample.Value) || math.IsInf(sample.Value, 0)) {
			err = fmt.Errorf("the sensor returned %v, not a number", sample.Value)
		}
		if err != nil {
			if !st.failing {
				s.log.Warn("quantity fails", "stream", st.Name, "err", err)
			}
			s.recordFailure(st, at, err)
			continue
		}
		if st.failing && !s.failing {
			s.log.Info("quantity is back", "stream", st.Name)
		}
		good, st.failing = true, false
		s.emit(st, Reading{At: at, Value: sample.Value, State: st.Word(sample.Value)})
	}
	if good && s.failing {
		s.failing = false
		s.log.Info("sensor answers again")
	}
	return good
}

// fail records a failure of the whole sensor, once when it starts.
func (s *sampler) fail(err error) {
	if err == nil {
		err = errors.New("the sensor ended")
	}
	if !s.failing {
		s.failing = true
		s.log.Warn("sensor fails", "err", err)
	}
	at := s.to.Clock.Now()
	for _, st := range s.spec.Streams {
		s.recordFailure(s.streams[st.Quantity.Name], at, err)
	}
}

// recordFailure makes a reading of a failure, once when it starts.
func (s *sampler) recordFailure(st *stream, at Stamp, err error) {
	if st.failing {
		return
	}
	st.failing = true
	s.emit(st, Reading{At: at, Err: short(err)})
}

func (s *sampler) emit(st *stream, r Reading) {
	st.seq++
	r.Stream, r.Seq, r.Unit, r.Priority = st.Name, st.seq, st.Unit, st.Priority
	s.to.Record(r)
}

// short is the first line of an error, at most 200 bytes: the reason that
// travels with a reading, without a stack.
func short(err error) string {
	text := []byte(err.Error())
	for i, c := range text {
		if c == '\n' || i == 200 {
			return string(text[:i])
		}
	}
	return string(text)
}

// sleep waits for d, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
