package sensors

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

type noticeKey struct{}

// withNotices takes notices until ctx is done: a call that was left behind has
// nobody to tell.
func withNotices(ctx context.Context, take func(Event)) context.Context {
	return context.WithValue(ctx, noticeKey{}, func(e Event) {
		if ctx.Err() == nil {
			take(e)
		}
	})
}

// Notice reports what a driver noticed, while it was opened or measured under
// ctx, about what is not a quantity of its sensor: its bus, say. The details go out
// as they are. What is about a quantity travels as [Sample.Event] instead.
func Notice(ctx context.Context, e Event) {
	if take, ok := ctx.Value(noticeKey{}).(func(Event)); ok {
		take(e)
	}
}

func (s *sampler) notice(e Event) { s.report(e.Name, s.to.Clock.Now(), e.Details) }

// noticeOf reports what a driver noticed about a stream; nil is none of those
// that are configured.
func (s *sampler) noticeOf(st *stream, e Event, at clock.Stamp) {
	details := map[string]any{}
	maps.Copy(details, e.Details)
	details["sensor"] = s.spec.Name
	if st != nil {
		details["stream"] = st.Name
	}
	s.report(e.Name, at, details)
}

func (s *sampler) report(event string, at clock.Stamp, details map[string]any) {
	text, err := json.Marshal(details)
	if err != nil {
		s.log.Error("event lost: its details are no JSON", "event", event, "err", err)
		return
	}
	key := event
	if stream, ok := details["stream"].(string); ok {
		key += " of " + stream
	}
	switch say, first := s.events.allow(key, at.Monotonic()); {
	case say:
		s.log.Info("event", "event", event, "details", string(text))
	case first:
		s.log.Info("event comes again and again: it is counted from here on", "event", event, "details", string(text))
	}
	s.to.Report(event, at, string(text))
}
