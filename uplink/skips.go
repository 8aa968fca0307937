package uplink

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// tooLate reports whether a reading is skipped because it is historical and its payload is
// plain: that cannot mark it as historical, and the configuration does not ask for history.
// A probe of a held stream is sent even if it is too late, because otherwise it would not
// be known when the broker accepts the stream again.
func (l *Link) tooLate(it *queue.Item) bool {
	return it.Event == "" && l.opt.Formats.Of(it.Stream) == payload.Plain && l.historical(it)
}

const (
	skipsEvery      = time.Minute // between two events about skipped readings, at least
	maxSkipsStreams = 20          // how many streams an event names
)

// skips counts the skipped readings that no event has reported yet. They were acknowledged
// to the backlog like delivered ones. Only the goroutine of the session uses it; it lives
// longer than the session.
type skips struct {
	streams  map[string]int // readings by stream
	count    int
	first    int64     // when the oldest was measured, Unix milliseconds
	last     int64     // the same of the newest
	since    time.Time // when the first was skipped
	reported time.Time // when the last event was reported; zero: never
}

// add counts a reading that was measured at a time, in Unix milliseconds.
func (s *skips) add(it *queue.Item, at int64) {
	if s.count == 0 {
		s.streams, s.since, s.first, s.last = map[string]int{}, time.Now(), at, at
	}
	s.count++
	s.streams[it.Stream]++
	s.first, s.last = min(s.first, at), max(s.last, at)
}

// reportDue reports skipped readings when the backlog is empty, and every skipsEvery while
// it is not.
func (s *skips) reportDue(h *history) {
	if s.count == 0 {
		return
	}
	now := time.Now()
	if now.Sub(s.reported) >= skipsEvery && (now.Sub(s.since) >= skipsEvery || h.drained && !h.skipping()) {
		s.report(h.link)
	}
}

// report reports the skipped readings with an event and in the log, if there are any.
func (s *skips) report(l *Link) {
	if s.count == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(s.streams))
	details := map[string]any{"count": s.count, "first_ts": s.first, "last_ts": s.last, "streams": names}
	if len(names) > maxSkipsStreams {
		details["streams"], details["truncated"] = names[:maxSkipsStreams], true
	}
	l.report("skipped", details)
	l.log.Info("readings were too late for a plain payload, and were not sent", "count", s.count,
		"streams", len(names), "mend", "plain: {history: true} sends them")
	*s = skips{reported: time.Now()}
}
