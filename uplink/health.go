package uplink

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// DefaultHealth is the default of Options.Health.
const DefaultHealth = time.Minute

// healthEvery is the time between two messages on agent/health.
func (o Options) healthEvery() time.Duration { return cmp.Or(o.Health, DefaultHealth) }

// A heartbeat is the source of agent/health: the size of the backlog, and faults. It is
// sent every Options.Health, and when a fault begins or ends. Only the goroutine of the
// session uses it.
type heartbeat struct {
	once
	link   *Link
	canary *canary
	probes *prober
}

func newHeartbeat(l *Link, c *canary, probes *prober) *heartbeat {
	h := &heartbeat{link: l, canary: c, probes: probes}
	h.once = l.notices.fullOrShort(l.topics.Agent("health"), h.notice)
	return h
}

// notice makes the heartbeat, and sets when the next one is due.
func (h *heartbeat) notice(short bool) notice {
	h.at = time.Now().Add(h.link.opt.healthEvery())
	return notice{Message: h.message(short), kind: kindOnce}
}

// changed makes a heartbeat due now.
func (h *heartbeat) changed() {
	if h.link.opt.Stats != nil {
		h.now()
	}
}

// maxListed is how many entries of each list a short heartbeat has.
const maxListed = 3

// message makes the message. The short form has only the first entries of each list.
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
		Held    string   `json:"held,omitempty"`    // why the backlog is not sent
		Aside   int      `json:"aside,omitempty"`   // rejected readings and events in the queue
		Refused []string `json:"refused,omitempty"` // streams that the broker refuses
		Skipped uint64   `json:"skipped,omitempty"` // readings too late for plain payloads, since the start

		Problems []string `json:"problems,omitempty"` // what the checks at the start of the agent found

		// why it cannot be proven that the broker forwards what it acknowledges
		Unproven  string           `json:"unproven,omitempty"`
		Deferred  []deferredNotice `json:"deferred,omitempty"`  // messages about the agent that are deferred
		Truncated bool             `json:"truncated,omitempty"` // each list has only its first entries

		Commands string `json:"commands,omitempty"` // why no orders are accepted: denied, no key

		Unheard map[string]uint64 `json:"unheard,omitempty"` // by stream: messages without a subscriber
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

// problems returns what the checks at the start of the agent have found so far.
func (o Options) problems() []string {
	if o.Problems == nil {
		return nil
	}
	return o.Problems()
}

func head[T any](list []T) []T { return list[:min(len(list), maxListed)] }

// age returns how old a reading is, also one of an earlier boot; 0 for a zero stamp.
func (l *Link) age(at, now clock.Stamp) time.Duration {
	if at == (clock.Stamp{}) {
		return 0
	}
	if d, known := l.opt.Clock.Age(at); known {
		return d
	}
	return max(0, time.Duration(now.Unix-l.opt.Clock.Resolve(at).Unix)*time.Millisecond)
}
