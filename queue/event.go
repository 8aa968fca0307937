package queue

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
)

// jsonObject makes a JSON object of alternating keys and values. The keys must be strings,
// the values must marshal without an error.
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

// Report adds an event. It is sent in order with the alarms. Unlike Put of an alarm,
// Report does not wait until it is on disk.
func (q *Queue) Report(e sensors.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reportLocked(e.Name, e.At, string(e.Details))
}

// maxRecent is how many events are kept for Recent: 10 kB at about 200 bytes each.
const maxRecent = 50

// remember keeps an event for Recent.
func (c *counters) remember(it Item) {
	if len(c.recent) == maxRecent {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
	c.recent = append(c.recent, it)
}

// Recent returns the last events of this start, oldest first, at most 50. The event of a
// gap is among them once Peek has returned it, because the gap may grow until then.
func (q *Queue) Recent() []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.counts.recent)
}
