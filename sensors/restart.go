package sensors

import "time"

// restart counts how often in a row a sensor that waits for events worked when it
// was opened and failed soon after: a command that prints one line and ends. Each
// opening is a success, so that its failures are never several in a row.
type restart struct {
	opened time.Time
	worked bool // since then
	faults
}

// isStable reports whether the sensor's next failure is one of its own, and not the
// last one again: after a good measurement, and for a sensor that waits for events
// after it was open for some time.
func (s *sampler) isStable(healthy bool) bool {
	if s.spec.Every > 0 {
		return healthy
	}
	return s.device != nil && time.Since(s.restart.opened) >= stableTime
}

// failedSoon reports whether the sensor fails soon after it was opened and worked.
func (s *sampler) failedSoon() bool {
	return s.spec.Every == 0 && s.device != nil && s.restart.worked && time.Since(s.restart.opened) < stableTime
}

// endRestarts takes note that the sensor is not restarted again and again any more.
func (s *sampler) endRestarts() {
	if s.restart == nil || s.restart.failures == 0 {
		return
	}
	at := s.to.Clock.Now()
	if lasted, fault := s.restart.reset(at.Monotonic()); fault {
		s.report("recovered", at, map[string]any{"sensor": s.spec.Name, "after_s": int(lasted.Seconds())})
	}
}
