package sensors

import "github.com/holdfast-iot/holdfast/sensors/clock"

// take makes readings of samples. It is false if they were failures, all of them.
func (s *sampler) take(samples []Sample) (healthy bool) {
	now := s.to.Clock.Now()
	good, bad := false, false
	for _, sample := range samples {
		at, st := now.Before(sample.Ago), s.streams[sample.Quantity]
		switch {
		case sample.Event != nil:
			s.noticeOf(st, *sample.Event, at)
		case st == nil: // a quantity that no stream was configured for
		case s.takeOne(st, sample, at):
			good = true
		default:
			bad = true
		}
	}
	if good {
		s.recover(now)
	}
	s.tellCounts(false)
	return good || !bad
}

// takeOne makes of a sample what it is worth, and reports whether it was good.
func (s *sampler) takeOne(st *stream, sample Sample, at clock.Stamp) bool {
	if err := st.take(sample, at); err != nil {
		if st.trouble.failures == 1 {
			st.fails.fails(err, at.Monotonic())
		}
		if st.trouble.fault() {
			s.report("fault", at, map[string]any{"sensor": s.spec.Name, "stream": st.Name, "error": short(err), "failures": st.trouble.failures})
		}
		return false
	}
	if st.trouble.failures > 0 {
		st.fails.ends()
	}
	if lasted, fault := st.trouble.over(at.Monotonic()); fault {
		s.report("recovered", at, map[string]any{"sensor": s.spec.Name, "stream": st.Name, "after_s": int(lasted.Seconds())})
	}
	return true
}

// fail takes note of a failure of the whole sensor.
func (s *sampler) fail(err error) {
	at := s.to.Clock.Now()
	if s.trouble.fail(at.Monotonic()); s.trouble.failures == 1 {
		s.fails.fails(err, at.Monotonic())
	}
	if s.trouble.fault() {
		s.report("fault", at, map[string]any{"sensor": s.spec.Name, "error": short(err), "failures": s.trouble.failures})
	}
	if s.failedSoon() {
		s.restart.fail(at.Monotonic())
	}
	if s.restart.fault() {
		s.report("fault", at, map[string]any{"sensor": s.spec.Name, "error": short(err), "failures": s.restart.failures})
	}
	for _, st := range s.spec.Streams {
		s.streams[st.Quantity.Name].fail(err, at)
	}
}

// recover ends the failures of the whole sensor.
func (s *sampler) recover(at clock.Stamp) {
	if s.trouble.failures == 0 {
		return
	}
	s.fails.ends()
	if lasted, fault := s.trouble.over(at.Monotonic()); fault {
		s.report("recovered", at, map[string]any{"sensor": s.spec.Name, "after_s": int(lasted.Seconds())})
	}
}

// tellCounts tells the log what it was spared in the last hour, or until now.
func (s *sampler) tellCounts(inAnyCase bool) {
	now := s.to.Clock.Now().Monotonic()
	s.fails.hour(now, inAnyCase)
	for _, st := range s.spec.Streams {
		s.streams[st.Quantity.Name].fails.hour(now, inAnyCase)
	}
	s.events.hour(s.log, now, inAnyCase)
}
