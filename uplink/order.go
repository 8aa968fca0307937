package uplink

import "time"

// A step is the result of asking one source of messages.
type step uint8

const (
	stepNone step = iota // the source has nothing to send now: ask the next one
	stepSent             // a message was sent, or diverted: ask all again
	stepWait             // nothing may be sent now, by any source behind this one
)

func stepIf(sent bool) step {
	if sent {
		return stepSent
	}
	return stepNone
}

// stepOnly is the step of a source after which no other source may send.
func stepOnly(sent bool) step {
	if sent {
		return stepSent
	}
	return stepWait
}

// fill sends messages until the window is full or no source has one.
func (s *session) fill() {
	s.link.uptime, s.out.routineWaits = 0, false
	s.out.updateNow()
	s.history.refresh()
	s.link.pace.next = time.Time{}
	for s.sendNext() {
	}
}

// sendNext sends one message, and reports whether it did.
func (s *session) sendNext() bool {
	for _, send := range s.sources {
		switch send() {
		case stepSent:
			return true
		case stepWait:
			return false
		}
	}
	return false
}

// sourcesByPriority returns the sources of messages in the order in which they are asked:
// the notices that routine readings wait for, alarms, answers to orders, other notices,
// states in their share, then routine readings. Suspects, which were in flight when a
// session ended, come last and are sent alone. In some sessions a suspect is sent first
// instead, before anything is answered: see beginsWithSuspect.
func (s *session) sourcesByPriority() []func() step {
	n, h, t, w := s.notices, s.history, s.retries, &s.out.window
	return []func() step{
		func() step { return stepIf(w.openToAlarm() && n.sendNotice(n.urgent)) },
		func() step {
			if t.mustWait() {
				return stepWait
			}
			return stepNone
		},
		func() step { return stepIf(t.trying && t.tryAlone()) },
		h.chooseNext,
		h.divertUnsent,
		func() step {
			if n.beginsWithSuspect() {
				return stepOnly(n.sendSuspect())
			}
			return stepNone
		},
		h.sendAlarm,
		s.sendResponse,
		func() step { return stepIf(n.asksForAnswer() && (h.sendState(false) || h.sendItemOfAnyLane())) },
		func() step {
			if n.isolating() {
				return stepOnly(n.sendSuspect())
			}
			return stepNone
		},
		func() step {
			if !w.open() {
				s.out.routineWaits = h.next.routine
				return stepWait
			}
			return stepNone
		},
		func() step { return stepIf(n.sendNotice(n.others)) },
		func() step { return stepIf(h.sendState(h.next.routine)) },
		s.retries.refusals.tryHeld,
		h.sendKept,
		h.sendRoutine,
		func() step { return stepIf(t.tryAlone()) },
		func() step { return stepIf(n.sendSuspect()) },
	}
}
