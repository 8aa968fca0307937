package sensors

import "github.com/holdfast-iot/holdfast/sensors/clock"

// process turns samples into readings. healthy is false if there were failures and no good
// sample.
func (s *sampler) process(samples []Sample) (healthy bool) {
	if s.waits {
		s.blocks()
	}
	now := s.now()
	good, bad := false, false
	for _, sample := range samples {
		at, st := now.Before(sample.Ago), s.streamOf(sample.Quantity)
		switch {
		case sample.Event != nil:
			s.noticeOf(st, *sample.Event, at)
		case st == nil: // a quantity that no stream was configured for
		case s.processOne(st, sample, at):
			good = true
		default:
			bad = true
		}
	}
	if good {
		s.recover(now)
	}
	s.logCounts(now, false)
	return good || !bad
}

// streamOf returns the stream of a quantity; nil: none is configured for it.
func (s *sampler) streamOf(quantity string) *stream {
	for _, st := range s.streams {
		if st.Quantity.Name == quantity {
			return st
		}
	}
	return nil
}

// processOne passes a sample to its stream. It logs and reports a failure or a fault that
// begins or ends with the sample, and returns whether the sample was good.
func (s *sampler) processOne(st *stream, sample Sample, at clock.Stamp) bool {
	if err := st.process(sample, at); err != nil {
		s.blocks()
		if st.fails == nil {
			st.fails = &failureLog{log: s.log().With("stream", st.Name), what: "quantity", back: "quantity is back"}
		}
		if st.faults.failures == 1 {
			st.fails.begin(err, at.Monotonic())
		}
		if st.faults.becameFault() {
			s.report("fault", at, map[string]any{"sensor": s.spec.Name, "stream": st.Name,
				"error": short(err), "failures": st.faults.failures})
		}
		return false
	}
	if st.faults.failures > 0 {
		st.fails.end()
	}
	if lasted, fault := st.faults.reset(at.Monotonic()); fault {
		s.report("recovered", at, map[string]any{"sensor": s.spec.Name, "stream": st.Name,
			"after_s": int(lasted.Seconds())})
	}
	return true
}

// fail notes a failure of the whole sensor: all of its streams fail.
func (s *sampler) fail(err error) {
	at := s.now()
	if s.fails == nil {
		s.fails = &failureLog{log: s.log(), what: "sensor", back: "sensor answers again"}
	}
	if s.faults.fail(at.Monotonic()); s.faults.failures == 1 {
		s.fails.begin(err, at.Monotonic())
	}
	if s.faults.becameFault() {
		s.report("fault", at, map[string]any{"sensor": s.spec.Name, "error": short(err), "failures": s.faults.failures})
	}
	if s.failedSoon() {
		s.restart.fail(at.Monotonic())
	}
	if s.restart != nil && s.restart.becameFault() {
		s.report("fault", at, map[string]any{"sensor": s.spec.Name,
			"error": short(err), "failures": s.restart.failures})
	}
	for _, st := range s.streams {
		st.fail(err, at)
	}
}

// recover notes that the sensor works again, if it has failed as a whole.
func (s *sampler) recover(at clock.Stamp) {
	if s.faults.failures == 0 {
		return
	}
	s.fails.end()
	if lasted, fault := s.faults.reset(at.Monotonic()); fault {
		s.report("recovered", at, map[string]any{"sensor": s.spec.Name, "after_s": int(lasted.Seconds())})
	}
}

// logCounts logs what was counted instead of logged in the last hour, if the hour is over
// or force is set.
func (s *sampler) logCounts(at clock.Stamp, force bool) {
	now := at.Monotonic()
	s.fails.logCount(now, force)
	for _, st := range s.streams {
		st.fails.logCount(now, force)
	}
	s.events.logCounts(s.log, now, force)
}
