package queue

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// jsonObject is an object of keys and values in turn.
func jsonObject(pairs ...any) string {
	o := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		o[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprint("queue: event: ", err)) // strings and numbers always marshal
	}
	return string(b)
}

// Report adds an event. It goes with the alarms, and does not wait for the disk.
func (q *Queue) Report(e sensors.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reportLocked(e.Name, e.At, string(e.Details))
}

func (q *Queue) reportLocked(event string, at clock.Stamp, details string) {
	it := q.eventLocked(at)
	it.Event, it.Details = event, details
	q.rememberLocked(it)
	q.pushLocked(it)
}

// maxRecent is how many events Recent remembers: 10 kB, as events are some 200
// bytes.
const maxRecent = 50

// rememberLocked notes an event for Recent.
func (q *Queue) rememberLocked(it Item) {
	if n := len(q.counts.recent); n == maxRecent {
		q.counts.recent = slices.Delete(q.counts.recent, 0, 1)
	}
	q.counts.recent = append(q.counts.recent, it)
}

// Recent returns the last events of this start, oldest first, at most 50. A gap is
// one of them when it is first given to the sender: until then it grows.
func (q *Queue) Recent() []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.counts.recent)
}

// eventLocked is an event without its name.
func (q *Queue) eventLocked(at clock.Stamp) Item {
	q.counts.events++
	return Item{Boot: q.boot, Reading: sensors.Reading{Seq: q.counts.events, At: at, Priority: sensors.Alarm}}
}
