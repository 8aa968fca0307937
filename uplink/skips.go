package uplink

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// tooLate says that a reading is not sent: its payload is plain, cannot say that it is
// historical, and nobody asked for the history all the same. What a stream that is held
// is tried with is sent however late it is: without it nobody would know when the
// broker takes the stream again.
func (l *Link) tooLate(it *queue.Item) bool {
	return it.Event == "" && l.opt.Formats.Of(it.Stream) == payload.Plain && l.historical(it)
}

const (
	skipsEvery      = time.Minute // between two events about skipped readings, at least
	maxSkipsStreams = 20          // how many streams an event names
)

// skips are the readings that were too late and that no event has told of yet. They
// left the backlog as what was delivered did. They belong to the goroutine of the
// session, and outlive it.
type skips struct {
	streams  map[string]int // how many of each
	count    int
	first    int64     // when the first was measured, Unix milliseconds
	last     int64     // and the last
	since    time.Time // when the first was skipped
	reported time.Time // zero: never
}

// add takes note of a reading, and of when it was measured.
func (s *skips) add(it *queue.Item, at int64) {
	if s.count == 0 {
		s.streams, s.since, s.first, s.last = map[string]int{}, time.Now(), at, at
	}
	s.count++
	s.streams[it.Stream]++
	s.first, s.last = min(s.first, at), max(s.last, at)
}

// reportDue reports what was skipped when the backlog has come to its end, and once a
// minute while it does not.
func (s *skips) reportDue(h *history) {
	if s.count == 0 {
		return
	}
	now := time.Now()
	if now.Sub(s.reported) >= skipsEvery && (now.Sub(s.since) >= skipsEvery || h.drained && !h.skipping()) {
		s.report(h.link)
	}
}

// report reports what was skipped, if anything was.
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
