package sensors

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	minRetry   = time.Second      // the first wait before a sensor that failed is opened again
	maxRetry   = 15 * time.Second // the longest wait, also for long intervals: a reading is then late, not missing
	stableTime = time.Minute      // a sensor that waits for events works again after it was open for so long
	busyLimit  = time.Minute      // for the watchdog: between two calls into a driver a sampler needs less
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

	// Watch returns a function for the watchdog. The sampler of the sensor calls it when it
	// makes progress, with the time within which it will call again; 0: it is not watched,
	// because it waits for the driver, which has its own time limit, or has ended. nil: there
	// is no watchdog.
	Watch func(sensor string) (progress func(within time.Duration))

	values *board // set by NewGroup
}

// Run samples every sensor until ctx is done, and returns ctx.Err(). A sensor that fails,
// hangs or panics is closed and opened again, and affects no other sensor.
//
// Sensors with an interval share their goroutines: see schedule and pool. A sensor that
// waits for events has one goroutine, and a second one for the call that waits.
//
// Run returns when everything that it started has ended, with one exception: a call into a
// driver that hangs in the kernel cannot be ended. Run abandons it with its goroutine, at
// most one for each sensor. If the call ever returns, it closes the sensor, and its result
// is dropped. A [Group] does the same, and abandons at most one call for each change of
// such a sensor.
func Run(ctx context.Context, specs []Spec, to Wiring) error {
	g := NewGroup(to)
	g.Change(ctx, specs, func([]Spec) {})
	g.Wait()
	return ctx.Err()
}

// shared is what the samplers of a group share.
type shared struct {
	Wiring
	pool pool // for the calls into drivers, and for the workers of the schedule
}

// A sampler opens, measures and closes one sensor. It works in turns: one turn opens the
// sensor if necessary and measures once. It belongs to the goroutine that runs its turn; only
// the method notice is called by the driver's goroutine, during a turn.
type sampler struct {
	spec    *Spec // does not change
	to      *shared
	streams []*stream // as those of spec
	faults  faults
	fails   *failureLog // nil: the sensor has never failed
	events  eventLog
	restart *restart // nil: the sensor has an interval

	progress func(within time.Duration) // see Wiring.Watch
	tick     time.Time                  // when to measure next; during a turn the tick that it is for
	retry    time.Duration              // the wait after the next failure, before the sensor is opened again

	device    Sensor // nil: not open
	immediate bool   // Next returns at once: it needs no goroutine and no time limit
	hung      *call  // an abandoned call that has not returned: until then no other call is made

	worker *worker // of the schedule, during a turn; nil: the sampler has its own goroutine
	waits  bool    // a stream is an alarm, and Record waits for the disk: hand over first
}

// init makes the first turn due now, with the sensor still closed. The caller must not
// change spec afterwards: the sampler keeps it, because a thousand copies would cost memory.
func (s *sampler) init(spec *Spec, to *shared, now time.Time) {
	s.spec, s.to, s.tick, s.retry = spec, to, now, minRetry
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

// log returns the log with the sensor's name.
func (s *sampler) log() *slog.Logger { return s.to.Log.With("sensor", s.spec.Name) }

// run takes turns on the sampler's own goroutine until ctx is done. A sensor with an
// interval gets its turns from a [schedule] instead.
func (s *sampler) run(ctx context.Context) {
	ctx = withNotices(ctx, s.notice)
	for due := s.tick; s.sleep(ctx, time.Until(due)); {
		if due = s.step(ctx); ctx.Err() != nil {
			break
		}
	}
	s.end(ctx)
}

// step takes a turn and returns when the next one is due: at the next tick if the sensor
// works, earlier after a failure. The result has no meaning if ctx is done.
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
	s.tick = s.next(s.tick)
	due = s.tick
	if healthy {
		return due
	}
	if again := time.Now().Add(s.retry); err != nil || again.Before(s.tick) {
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

// blocks has to be called before the sampler may block in its turn: the other sensors of
// the schedule get another worker.
func (s *sampler) blocks() {
	if s.worker != nil {
		s.worker.handOver()
	}
}

// now returns the time stamp for a sample that was just measured.
func (s *sampler) now() clock.Stamp {
	if s.worker != nil {
		return s.worker.now(s.to.Clock)
	}
	return s.to.Clock.Now()
}

// next returns the first tick after tick that is not in the past. It skips those that a
// slow measurement or a failure missed.
func (s *sampler) next(tick time.Time) time.Time {
	late := time.Since(tick)
	switch {
	case s.spec.Every == 0:
		return tick.Add(late) // now: the sensor's Next waits for the event
	case late < 0:
		return tick // this was a retry between two ticks, after a failure
	}
	passed := (late + s.spec.Every - 1) / s.spec.Every
	return tick.Add(max(passed, 1) * s.spec.Every)
}

// turn opens the sensor if necessary, measures once and processes the samples. healthy is
// false if there were failures and no good sample.
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
	sensor := s.device // s.device may have changed when an abandoned call returns
	next := func(ctx context.Context) answer {
		samples, err := sensor.Next(ctx)
		return answer{samples: samples, err: err}
	}
	if s.immediate {
		return catchPanic(func() answer { return next(ctx) })
	}
	var limit time.Duration // 0, without a limit, to wait for an event
	if s.spec.Every > 0 {
		limit = measureTimeout
	}
	return s.call(ctx, limit, next, func(answer) { _ = sensor.Close() })
}

// checkHung returns an error while an abandoned call has not returned.
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

// open opens the sensor unless it is open. If the call was abandoned, the call itself
// closes the sensor that it has opened.
func (s *sampler) open(ctx context.Context) error {
	if s.device != nil {
		return nil
	}
	got := s.call(ctx, measureTimeout, func(ctx context.Context) answer {
		sensor, err := s.to.Open(ctx, *s.spec)
		return answer{sensor: sensor, err: err}
	}, func(abandoned answer) {
		if abandoned.err == nil {
			_ = abandoned.sensor.Close()
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

// close closes the sensor, unless an abandoned call will do it.
func (s *sampler) close(ctx context.Context) {
	sensor := s.device
	s.immediate = false
	if s.device = nil; sensor == nil || s.hung != nil {
		return
	}
	got := s.call(ctx, measureTimeout,
		func(context.Context) answer { return answer{err: sensor.Close()} }, func(answer) {})
	// A sensor that fails is opened and closed repeatedly: only the first failed close is logged.
	if got.err != nil && s.faults.failures <= 1 && (s.fails.isLogged() || s.faults.failures == 0) {
		s.log().Warn("sensor not closed well", "err", got.err)
	}
}

// call calls into the driver, unwatched by the watchdog: the call has its own time limit.
// If the call was abandoned, s.hung is set, and no other call is made before it has returned.
func (s *sampler) call(
	ctx context.Context, limit time.Duration, do func(context.Context) answer, cleanup func(answer),
) answer {
	s.progress(0)
	got, hung := callWithLimit(ctx, &s.to.pool, limit, s.blocks, do, cleanup)
	s.progress(busyLimit)
	s.hung = hung
	return got
}

// announceWait tells the watchdog that the sampler waits for d and then makes progress.
func (s *sampler) announceWait(d time.Duration) { s.progress(max(d, 0) + busyLimit) }

// sleep waits for d, or until an abandoned call has returned. It returns false if ctx is
// done.
func (s *sampler) sleep(ctx context.Context, d time.Duration) bool {
	s.announceWait(d)
	var returned chan struct{} // nil: there is no abandoned call
	if s.hung != nil {
		returned = s.hung.done
	} else if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-returned:
	case <-ctx.Done():
		return false
	}
	return true
}
