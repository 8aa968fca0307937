package uplink

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// DefaultHealth is the time between two messages on agent/health, unless Options say
// otherwise.
const DefaultHealth = time.Minute

// healthEvery is the time between two messages on agent/health.
func (o Options) healthEvery() time.Duration { return cmp.Or(o.Health, DefaultHealth) }

// A heartbeat is what agent/health says: how much waits, and what is wrong. It is
// sent at the pace of Options.Health, and when any of that changes. All fields belong to the
// goroutine of the session.
type heartbeat struct {
	once
	link   *Link
	canary *canary
	probes *prober
}

func newHeartbeat(l *Link, c *canary, probes *prober) *heartbeat {
	h := &heartbeat{link: l, canary: c, probes: probes}
	h.once = l.notices.either(l.topics.Agent("health"), h.notice)
	return h
}

// notice makes the heartbeat, and the next one due.
func (h *heartbeat) notice(short bool) notice {
	h.at = time.Now().Add(h.link.opt.healthEvery())
	return notice{Message: h.message(short), kind: kindOnce}
}

// changed makes a heartbeat due.
func (h *heartbeat) changed() {
	if h.link.opt.Stats != nil {
		h.now()
	}
}

// maxListed is how many of each list a short heartbeat has.
const maxListed = 3

// message makes the heartbeat. A short one has the first entries of each list.
func (h *heartbeat) message(short bool) mqtt.Message {
	l := h.link
	q, now := l.opt.Stats(), l.opt.Clock.Now()
	faults, refused, deferred := l.states.failing(), l.rejects.refusedStreams(), l.notices.records.deferredNotices()
	problems := l.opt.problems()
	nobody := l.unheard.byName()
	if short {
		nobody = nil
		faults, refused, deferred, problems = head(faults), head(refused), head(deferred), head(problems)
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
		Skipped uint64   `json:"skipped,omitempty"` // readings too late for plain payloads, since the start

		Problems []string `json:"problems,omitempty"` // what the checks at the start of the agent found

		// why nothing proves that what the broker acknowledges arrives
		Unproven  string           `json:"unproven,omitempty"`
		Deferred  []deferredNotice `json:"deferred,omitempty"`  // what the agent says of itself and cannot get through
		Truncated bool             `json:"truncated,omitempty"` // each list has its first ones alone

		Commands string `json:"commands,omitempty"` // why no orders come: denied, no key

		Unheard map[string]uint64 `json:"unheard,omitempty"` // items that nobody has subscribed to, by stream
	}{now.Unix, q.Backlog, int64(l.age(q.Oldest, now).Seconds()), q.Dropped, faults, now.Clock.String(), q.Written,
		h.canary.held,
		q.Rejected, refused, l.Status().Skipped, problems, h.probes.unproven(), deferred, short, l.orders.health(),
		nobody})
	if err != nil {
		panic("uplink: health: " + err.Error()) // strings and numbers always marshal
	}
	return mqtt.Message{Topic: l.topics.Agent("health"), Payload: payload, Retain: true, AtMostOnce: true,
		Properties: expiring(healthsKept * l.opt.healthEvery())}
}

// problems are what the checks at the start of the agent found, as far as they
// are done.
func (o Options) problems() []string {
	if o.Problems == nil {
		return nil
	}
	return o.Problems()
}

func head[T any](list []T) []T { return list[:min(len(list), maxListed)] }

// age is how old a reading is, also one of an earlier boot; 0 if there is none.
func (l *Link) age(at, now clock.Stamp) time.Duration {
	if at == (clock.Stamp{}) {
		return 0
	}
	if d, known := l.opt.Clock.Age(at); known {
		return d
	}
	return max(0, time.Duration(now.Unix-l.opt.Clock.Resolve(at).Unix)*time.Millisecond)
}
