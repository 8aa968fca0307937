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

	// Watch returns the function by which a sensor's sampler says that it makes
	// progress, and within what time it says so again; 0: it waits for the driver,
	// which has bounds of its own, or has ended. nil: nobody watches.
	Watch func(sensor string) (progress func(within time.Duration))
}

// Run samples every sensor until ctx is done. A sensor that fails, hangs or
// panics is closed, opened again, and concerns no other.
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

// A sampler keeps one sensor going. It belongs to one goroutine, that of run, but
// for notice: the driver's goroutine calls it while run waits for the driver.
type sampler struct {
	spec    Spec
	to      Wiring
	log     *slog.Logger
	streams map[string]*stream // by quantity
	faults  faults
	fails   failureLog
	events  eventLog
	restart restart

	progress func(within time.Duration) // see Wiring.Watch

	device Sensor // nil: not open
	hung   *call  // that has not returned yet; until then the sensor is not called
}

// newSampler is one whose sensor is not open yet.
func newSampler(spec Spec, to Wiring) *sampler {
	s := &sampler{spec: spec, to: to, log: to.Log.With("sensor", spec.Name), streams: map[string]*stream{}}
	s.fails = failureLog{log: s.log, what: "sensor", back: "sensor answers again"}
	for _, st := range spec.Streams {
		s.streams[st.Quantity.Name] = newStream(st, to.Record, s.log)
	}
	s.progress = func(time.Duration) {}
	if to.Watch != nil {
		s.progress = to.Watch(spec.Name)
	}
	return s
}

// run takes turns: on the sensor's own beat as long as it answers, sooner after
// a failure.
func (s *sampler) run(ctx context.Context) {
	ctx = withNotices(ctx, s.notice)
	beat, retry := time.Now(), minRetry
	for due := beat; s.sleep(ctx, time.Until(due)); {
		healthy, err := s.turn(ctx)
		if ctx.Err() != nil {
			break
		}
		if s.isStable(healthy) {
			retry = minRetry
			s.endRestarts()
		}
		if err != nil {
			s.fail(err)
			s.close(ctx)
		}
		beat = s.next(beat)
		due = beat
		if healthy {
			continue
		}
		if again := time.Now().Add(retry); err != nil || again.Before(beat) {
			due = again
		}
		retry = min(2*retry, maxRetry)
	}
	s.logCounts(true)
	s.close(ctx)
	s.progress(0)
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
	if err := s.back(); err != nil {
		return false, err
	}
	if err := s.open(ctx); err != nil {
		return false, err
	}
	var limit time.Duration // none for an event: it may take for ever
	if s.spec.Every > 0 {
		limit = measureTimeout
	}
	sensor := s.device
	got := s.call(ctx, limit, func(ctx context.Context) answer {
		samples, err := sensor.Next(ctx)
		return answer{samples: samples, err: err}
	}, func(answer) { _ = sensor.Close() })
	if got.err != nil {
		return false, got.err
	}
	healthy = s.process(got.samples)
	s.restart.worked = s.restart.worked || healthy
	return healthy, nil
}

// back is an error while a call that was left behind has not come back.
func (s *sampler) back() error {
	if s.hung == nil {
		return nil
	}
	select {
	case <-s.hung.done:
		s.hung = nil
		return nil
	default:
		return s.hung.hangs()
	}
}

// open opens the sensor, unless it is open. One that opens too late is closed by the
// call that opened it.
func (s *sampler) open(ctx context.Context) error {
	if s.device != nil {
		return nil
	}
	got := s.call(ctx, measureTimeout, func(ctx context.Context) answer {
		sensor, err := s.to.Open(ctx, s.spec)
		return answer{sensor: sensor, err: err}
	}, func(late answer) {
		if late.err == nil {
			_ = late.sensor.Close()
		}
	})
	if got.err == nil {
		s.device = got.sensor
		s.restart.opened, s.restart.worked = time.Now(), false
	}
	return got.err
}

// close closes the sensor, unless a call that hangs will.
func (s *sampler) close(ctx context.Context) {
	sensor := s.device
	if s.device = nil; sensor == nil || s.hung != nil {
		return
	}
	got := s.call(ctx, measureTimeout,
		func(context.Context) answer { return answer{err: sensor.Close()} }, func(answer) {})
	// A sensor that fails is opened and closed again and again: only the first close is logged.
	if got.err != nil && s.faults.failures <= 1 && (s.fails.logged || s.faults.failures == 0) {
		s.log.Warn("sensor not closed well", "err", got.err)
	}
}

// call calls into the driver and says that the sampler waits for it. A call that
// hangs is remembered: no other is made before it has returned.
func (s *sampler) call(
	ctx context.Context, limit time.Duration, do func(context.Context) answer, late func(answer),
) answer {
	s.progress(0)
	got, hung := bounded(ctx, limit, do, late)
	s.progress(busyLimit)
	s.hung = hung
	return got
}

// sleep waits for d, or until a call that hung has returned. It reports false if
// ctx ended first.
func (s *sampler) sleep(ctx context.Context, d time.Duration) bool {
	s.progress(max(d, 0) + busyLimit)
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
