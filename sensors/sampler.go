package sensors

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	minRetry   = time.Second      // before a sensor that failed is opened again
	maxRetry   = 15 * time.Second // however slow its own pace is: a reading is late then, not missing
	stableTime = time.Minute      // open for so long, a sensor that waits for events has not just been restarted
	busyLimit  = time.Minute      // for what a sampler does between two calls into its driver
)

// Wiring is what the sensors are connected to. Its functions are called from
// many goroutines.
type Wiring struct {
	Open   Open          // opens a device
	Record func(Reading) // takes each reading
	Report func(Event)   // takes what happened to the sensors themselves
	Clock  *clock.Timekeeper
	Log    *slog.Logger
	Seqs   *Seqs // nil: nobody else makes streams

	// Watch returns the function by which a sensor's sampler says that it makes
	// progress, and within what time it says so again; 0: it waits for the driver,
	// which has bounds of its own, or has ended. nil: nobody watches.
	Watch func(sensor string) (progress func(within time.Duration))

	values *board // set by NewGroup
}

// Run samples every sensor until ctx is done. A sensor that fails, hangs or
// panics is closed, opened again, and concerns no other.
//
// Sensors that are paced share their goroutines: see schedule and pool. One that waits for
// events has a goroutine, and one for the call that waits.
//
// Run returns when everything that it started has ended, with one exception: a
// call into a driver that hangs in the kernel cannot be ended. It is left behind
// with its goroutine, one for each sensor at the most, and closes the sensor if it
// ever returns; nothing of it is recorded. A [Group] does the same, and leaves one
// behind for each change of such a sensor.
func Run(ctx context.Context, specs []Spec, to Wiring) error {
	g := NewGroup(to)
	g.Change(ctx, specs, func([]Spec) {})
	g.Wait()
	return ctx.Err()
}

// shared is what the samplers of a group have in common.
type shared struct {
	Wiring
	pool pool // for the calls into drivers, and for the workers of the schedule
}

// A sampler keeps one sensor going. It belongs to one goroutine at a time, that which
// gives it its turn, but for notice: the driver's goroutine calls it during a turn.
type sampler struct {
	spec    *Spec // does not change
	to      *shared
	streams []*stream // as those of spec
	faults  faults
	fails   *failureLog // nil: the sensor has never failed
	events  eventLog
	restart *restart // nil: the sensor has a pace

	progress func(within time.Duration) // see Wiring.Watch
	beat     time.Time                  // the last one that has passed, or the next one
	retry    time.Duration              // how soon after its next failure the sensor is opened again

	device    Sensor
	immediate bool  // the device's Next need not be bounded
	hung      *call // that has not returned yet; until then the sensor is not called

	worker *worker // during a turn in a schedule; nil: the goroutine is the sampler's own
	waits  bool    // a stream is an alarm: nobody else waits for what Record does with it
}

// init makes the first turn due now; the sensor is not open yet. The spec must not
// change any more: a thousand samplers need no copies.
func (s *sampler) init(spec *Spec, to *shared, now time.Time) {
	s.spec, s.to, s.beat, s.retry = spec, to, now, minRetry
	s.streams = make([]*stream, 0, len(spec.Streams))
	if spec.Every == 0 {
		s.restart = &restart{}
	}
	for i := range spec.Streams {
		s.streams = append(s.streams, newStream(&spec.Streams[i], to.Record, to.values))
	}
	for _, st := range s.allStreams() {
		s.waits = s.waits || st.Priority == Alarm
	}
	s.progress = func(time.Duration) {}
	if to.Watch != nil {
		s.progress = to.Watch(spec.Name)
	}
}

// log is the log with the sensor's name.
func (s *sampler) log() *slog.Logger { return s.to.Log.With("sensor", s.spec.Name) }

// run takes turns on a goroutine of the sampler's own, until ctx is done. Those of a
// sensor that is paced belong to a [schedule] instead.
func (s *sampler) run(ctx context.Context) {
	ctx = withNotices(ctx, s.notice)
	for due := s.beat; s.sleep(ctx, time.Until(due)); {
		if due = s.step(ctx); ctx.Err() != nil {
			break
		}
	}
	s.end(ctx)
}

// step takes a turn and returns when the next one is due: on the sensor's own beat as
// long as it answers, sooner after a failure. If ctx ends, it means nothing.
func (s *sampler) step(ctx context.Context) (due time.Time) {
	healthy, err := s.turn(ctx)
	if ctx.Err() != nil {
		return due
	}
	if s.isStable(healthy) {
		s.retry = minRetry
		s.endRestarts()
	}
	if err != nil {
		s.blocks()
		s.fail(err)
		s.close(ctx)
	}
	s.beat = s.next(s.beat)
	due = s.beat
	if healthy {
		return due
	}
	if again := time.Now().Add(s.retry); err != nil || again.Before(s.beat) {
		due = again
	}
	s.retry = min(2*s.retry, maxRetry)
	return due
}

// end closes the sensor after the last turn; ctx is done.
func (s *sampler) end(ctx context.Context) {
	s.logCounts(s.now(), true)
	s.close(ctx)
	s.progress(0)
}

// blocks says that the sampler may wait from here on until its turn ends.
func (s *sampler) blocks() {
	if s.worker != nil {
		s.worker.handOver()
	}
}

// now is the time of what was just measured.
func (s *sampler) now() clock.Stamp {
	if s.worker != nil {
		return s.worker.now(s.to.Clock)
	}
	return s.to.Clock.Now()
}

// next is when to measure after a beat: on the next one that has not passed,
// without catching up on those that a slow measurement or a failure missed.
func (s *sampler) next(beat time.Time) time.Time {
	late := time.Since(beat)
	switch {
	case s.spec.Every == 0:
		return beat.Add(late) // now: Next waits for itself
	case late < 0:
		return beat // this was a turn between two beats, after a failure
	}
	passed := (late + s.spec.Every - 1) / s.spec.Every
	return beat.Add(max(passed, 1) * s.spec.Every)
}

// turn opens the sensor if need be and takes what it measures. It is not healthy
// if nothing but failures came of it.
func (s *sampler) turn(ctx context.Context) (healthy bool, err error) {
	if err := s.checkHung(); err != nil {
		return false, err
	}
	if err := s.open(ctx); err != nil {
		return false, err
	}
	got := s.measure(ctx)
	if got.err != nil {
		return false, got.err
	}
	healthy = s.process(got.samples)
	if s.restart != nil {
		s.restart.worked = s.restart.worked || healthy
	}
	return healthy, nil
}

// measure calls the sensor's Next.
func (s *sampler) measure(ctx context.Context) answer {
	sensor := s.device // the sampler's is another one when a call that hung returns
	next := func(ctx context.Context) answer {
		samples, err := sensor.Next(ctx)
		return answer{samples: samples, err: err}
	}
	if s.immediate {
		return catchPanic(func() answer { return next(ctx) })
	}
	var limit time.Duration // none for an event: it may take for ever
	if s.spec.Every > 0 {
		limit = measureTimeout
	}
	return s.call(ctx, limit, next, func(answer) { _ = sensor.Close() })
}

// back is an error while a call that was left behind has not come back.
func (s *sampler) checkHung() error {
	if s.hung == nil {
		return nil
	}
	select {
	case <-s.hung.done:
		s.hung = nil
		return nil
	default:
		return s.hung.hangError()
	}
}

// open opens the sensor, unless it is open. One that opens too late is closed by the
// call that opened it.
func (s *sampler) open(ctx context.Context) error {
	if s.device != nil {
		return nil
	}
	got := s.call(ctx, measureTimeout, func(ctx context.Context) answer {
		sensor, err := s.to.Open(ctx, *s.spec)
		return answer{sensor: sensor, err: err}
	}, func(late answer) {
		if late.err == nil {
			_ = late.sensor.Close()
		}
	})
	if got.err == nil {
		s.device = got.sensor
		i, ok := got.sensor.(Immediate)
		s.immediate = ok && s.spec.Every > 0 && i.IsImmediate()
		if s.restart != nil {
			s.restart.opened, s.restart.worked = time.Now(), false
		}
	}
	return got.err
}

// close closes the sensor, unless a call that hangs will.
func (s *sampler) close(ctx context.Context) {
	sensor := s.device
	s.immediate = false
	if s.device = nil; sensor == nil || s.hung != nil {
		return
	}
	got := s.call(ctx, measureTimeout,
		func(context.Context) answer { return answer{err: sensor.Close()} }, func(answer) {})
	// A sensor that fails is opened and closed again and again: only the first close is logged.
	if got.err != nil && s.faults.failures <= 1 && (s.fails.isLogged() || s.faults.failures == 0) {
		s.log().Warn("sensor not closed well", "err", got.err)
	}
}

// call calls into the driver and says that the sampler waits for it. A call that
// hangs is remembered: no other is made before it has returned.
func (s *sampler) call(
	ctx context.Context, limit time.Duration, do func(context.Context) answer, cleanup func(answer),
) answer {
	s.progress(0)
	got, hung := callWithLimit(ctx, &s.to.pool, limit, s.blocks, do, cleanup)
	s.progress(busyLimit)
	s.hung = hung
	return got
}

// promise says that the sampler waits for d, and makes progress then.
func (s *sampler) promise(d time.Duration) { s.progress(max(d, 0) + busyLimit) }

// sleep waits for d, or until a call that hung has returned. It reports false if
// ctx ended first.
func (s *sampler) sleep(ctx context.Context, d time.Duration) bool {
	s.promise(d)
	var back chan struct{} // nil: never
	if s.hung != nil {
		back = s.hung.done
	} else if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-back:
	case <-ctx.Done():
		return false
	}
	return true
}
