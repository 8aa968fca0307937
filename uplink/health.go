package uplink

import (
	"encoding/json"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const heartbeatEvery = time.Minute

// beat says how the agent is, and when to say so again.
func (s *session) heartbeatNotice(short bool) notice {
	s.health.at = time.Now().Add(heartbeatEvery)
	return notice{Message: s.healthMessage(short), kind: kindOnce}
}

// healthChanged makes a heartbeat due.
func (s *session) healthChanged() {
	if s.opt.Stats != nil {
		s.health.now()
	}
}

// maxListed is how many of each list a short heartbeat has.
const maxListed = 3

// healthMessage is the heartbeat: how much waits, and what is wrong.
func (s *session) healthMessage(short bool) Message {
	q, now := s.opt.Stats(), s.opt.Clock.Now()
	faults, refused, deferred := s.states.failing(), s.rejects.names(), s.records.deferredNotices()
	if short {
		faults, refused, deferred = head(faults), head(refused), head(deferred)
	}
	payload, err := json.Marshal(struct {
		TS      int64    `json:"ts"`
		Backlog int      `json:"backlog"`
		Oldest  int64    `json:"oldest"` // seconds
		Dropped uint64   `json:"dropped"`
		Faults  []string `json:"faults"` // streams that cannot be read
		Clock   string   `json:"clock"`
		Written int64    `json:"written"`           // bytes
		Held    string   `json:"held,omitempty"`    // why the backlog does not go out
		Aside   int      `json:"aside,omitempty"`   // what the broker refuses
		Refused []string `json:"refused,omitempty"` // streams of which it takes nothing

		Unproven  string           `json:"unproven,omitempty"`  // why nothing proves that what the broker acknowledges arrives
		Deferred  []deferredNotice `json:"deferred,omitempty"`  // what the agent says of itself and cannot get through
		Truncated bool             `json:"truncated,omitempty"` // each list has its first ones alone
	}{now.Unix, q.Backlog, int64(s.age(q.Oldest, now).Seconds()), q.Dropped, faults, now.Clock.String(), q.Written, s.held,
		q.Rejected, refused, s.unproven(), deferred, short})
	if err != nil {
		panic("uplink: health: " + err.Error()) // strings and numbers always marshal
	}
	return Message{Topic: s.topics.agent("health"), Payload: payload, Retain: true, Once: true}
}

func head[T any](list []T) []T { return list[:min(len(list), maxListed)] }

// age is how old a reading is, also one of an earlier boot; 0 if there is none.
func (s *session) age(at, now clock.Stamp) time.Duration {
	if at == (clock.Stamp{}) {
		return 0
	}
	if d, known := s.opt.Clock.Age(at); known {
		return d
	}
	return max(0, time.Duration(now.Unix-s.opt.Clock.Resolve(at).Unix)*time.Millisecond)
}
