package sensors

import "time"

// restart counts how often in a row a sensor that waits for events worked after it was
// opened and failed within stableTime, such as a command that prints one line and ends.
// The faults of the sampler cannot count this: each good sample resets them.
type restart struct {
	opened time.Time
	worked bool // there was a good sample since opened
	faults
}

// isStable reports whether the sensor counts as working again, so that its next failure
// begins with the shortest retry: after a good measurement, or if it waits for events,
// after it was open for stableTime.
func (s *sampler) isStable(healthy bool) bool {
	if s.spec.Every > 0 {
		return healthy
	}
	return s.device != nil && time.Since(s.restart.opened) >= stableTime
}

// failedSoon reports whether a failure now is within stableTime of an opening after which
// the sensor worked.
func (s *sampler) failedSoon() bool {
	return s.spec.Every == 0 && s.device != nil && s.restart.worked && time.Since(s.restart.opened) < stableTime
}

// endRestarts notes that the sensor stays open, and reports the end of a fault.
func (s *sampler) endRestarts() {
	if s.restart == nil || s.restart.failures == 0 {
		return
	}
	at := s.to.Clock.Now()
	if lasted, fault := s.restart.reset(at.Monotonic()); fault {
		s.report("recovered", at, map[string]any{"sensor": s.spec.Name, "after_s": int(lasted.Seconds())})
	}
}
