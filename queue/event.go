package queue

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
)

// jsonObject is an object of keys and values in turn: the keys are strings, the
// values whatever marshals without an error.
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

// Report adds an event. It is sent with the alarms, in their order. It does not wait
// for the disk: only a reading of an alarm is promised to be there when the call
// returns.
func (q *Queue) Report(e sensors.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reportLocked(e.Name, e.At, string(e.Details))
}

// maxRecent is how many events Recent remembers: 10 kB, as events are some 200
// bytes.
const maxRecent = 50

// remember notes an event for Recent.
func (c *counters) remember(it Item) {
	if len(c.recent) == maxRecent {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
	c.recent = append(c.recent, it)
}

// Recent returns the last events of this start, oldest first, at most 50. A gap is
// one of them when it is first given to the sender: until then it grows.
func (q *Queue) Recent() []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.counts.recent)
}
