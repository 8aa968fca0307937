package sensors

import (
	"context"
	"encoding/json"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// An Event is something that happened to a sensor, the link, the queue or the
// agent itself.
type Event struct {
	Name    string          // "flapping"
	At      clock.Stamp     // when it happened; a driver leaves it zero, the sampler sets it
	Details json.RawMessage // a JSON object; empty: none
}

// NewEvent returns an event without a time. The sampler logs and drops an event
// whose details do not marshal to JSON.
func NewEvent(name string, details map[string]any) Event {
	text, err := json.Marshal(details)
	if err != nil {
		return Event{Name: name, Details: json.RawMessage(err.Error())} // which is not valid JSON
	}
	return Event{Name: name, Details: text}
}

// noticeKey is the context key of the function that receives a driver's events. The
// function is in the context, like the hooks of net/http/httptrace, because a fault of a
// shared bus is found deep in a transfer and belongs to the sensor whose call is under way:
// the bus belongs to no sensor, and a transfer knows its caller only by the context.
type noticeKey struct{}

// withNotices passes events to take until ctx is done. It drops the events of a call that
// was abandoned.
func withNotices(ctx context.Context, take func(Event)) context.Context {
	return context.WithValue(ctx, noticeKey{}, func(e Event) {
		if ctx.Err() == nil {
			take(e)
		}
	})
}

// Notice reports an event that a driver found during an Open or a Next under ctx and that
// is not about a quantity of its sensor, but for example about its bus. The details are
// published unchanged. An event about a quantity is returned in [Sample.Event] instead.
// Notice may be called from any goroutine; without a sampler's ctx it does nothing.
func Notice(ctx context.Context, e Event) {
	if take, ok := ctx.Value(noticeKey{}).(func(Event)); ok {
		take(e)
	}
}

// notice reports an event of a driver that is about no quantity: see [Notice].
func (s *sampler) notice(e Event) {
	e.At = s.to.Clock.Now()
	s.send(e, "")
}

// noticeOf reports an event of a driver about a stream, with the names of the sensor and
// the stream added. st is nil if no stream is configured for the quantity.
func (s *sampler) noticeOf(st *stream, e Event, at clock.Stamp) {
	s.blocks()
	e.At = at
	details := map[string]json.RawMessage{}
	if len(e.Details) > 0 {
		if err := json.Unmarshal(e.Details, &details); err != nil {
			s.log().Error("event lost: its details are no JSON", "event", e.Name, "err", err)
			return
		}
	}
	details["sensor"] = quoted(s.spec.Name)
	name := ""
	if st != nil {
		name = st.Name
		details["stream"] = quoted(name)
	}
	text, err := json.Marshal(details)
	if err != nil {
		panic("sensors: event: " + err.Error()) // all of it was valid JSON
	}
	e.Details = text
	s.send(e, name)
}

func quoted(name string) json.RawMessage {
	text, err := json.Marshal(name)
	if err != nil {
		panic("sensors: event: " + err.Error()) // strings always marshal
	}
	return text
}

// report reports an event of the sampler itself; details may name a stream.
func (s *sampler) report(name string, at clock.Stamp, details map[string]any) {
	s.blocks()
	e := NewEvent(name, details)
	e.At = at
	stream, _ := details["stream"].(string)
	s.send(e, stream)
}

// send logs an event, unless it comes too often, and passes it on.
func (s *sampler) send(e Event, stream string) {
	if len(e.Details) == 0 {
		e.Details = json.RawMessage("{}")
	}
	if !json.Valid(e.Details) {
		s.log().Error("event lost: its details are no JSON", "event", e.Name, "err", string(e.Details))
		return
	}
	key := e.Name
	if stream != "" {
		key += " of " + stream
	}
	switch say, first := s.events.allow(key, e.At.Monotonic()); {
	case say:
		s.log().Info("event", "event", e.Name, "details", string(e.Details))
	case first:
		s.log().Info("event comes again and again: it is counted from here on",
			"event", e.Name, "details", string(e.Details))
	}
	s.to.Report(e)
}
