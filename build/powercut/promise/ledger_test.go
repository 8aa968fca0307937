package promise

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

const every = 5 * time.Second

func reading(p sensors.Priority, seq uint64) sensors.Reading {
	return sensors.Reading{Stream: p.String(), Seq: seq, Value: 1, Priority: p}
}

func items(readings ...sensors.Reading) (list []queue.Item) {
	for _, r := range readings {
		list = append(list, queue.Item{Boot: "1", Reading: r})
	}
	return list
}

// ledger returns a ledger with two readings of each lane, put at the start and a second
// later, and one alarm whose Put has not returned.
func ledger() *Ledger {
	l := Open()
	for _, p := range []sensors.Priority{sensors.Routine, sensors.Alarm} {
		for seq := range uint64(2) {
			f := Beginning("1", reading(p, seq+1))
			l.Note(f)
			f = f.End()
			f.At = time.Duration(seq) * time.Second
			l.Note(f)
		}
	}
	l.Note(Beginning("1", reading(sensors.Alarm, 3)))
	return l
}

func TestLedgerFindsWhatIsWrong(t *testing.T) {
	r1, r2 := reading(sensors.Routine, 1), reading(sensors.Routine, 2)
	a1, a2, a3 := reading(sensors.Alarm, 1), reading(sensors.Alarm, 2), reading(sensors.Alarm, 3)
	wrong := r1
	wrong.Value = -1
	for _, c := range []struct {
		name string
		now  time.Duration
		got  []queue.Item
		want string
	}{
		{"all", time.Hour, items(a1, a2, r1, r2), "[]"},
		{"one that Put had begun with", time.Hour, items(a1, a2, a3, r1, r2), "[]"},
		{"young routine readings", every, items(a1, a2), "[]"},
		{"an old routine reading", every + 1, items(a1, a2), "[lost]"},
		{"an alarm", 0, items(a1), "[lost]"},
		{"a hole", 0, items(a1, a2, r2), "[hole]"},
		{"another value", 0, items(a1, a2, wrong), "[altered]"},
		{"the wrong order", 0, items(a2, a1), "[order]"},
		{"one two times", 0, items(a1, a2, r1, r1), "[twice]"},
		{"one that was never put", 0, items(a1, a2, reading(sensors.Routine, 9)), "[foreign]"},
	} {
		sorts := []Sort{}
		for _, b := range ledger().Check(c.got, c.now, every) {
			sorts = append(sorts, b.Sort)
		}
		if got := fmt.Sprint(sorts); got != c.want {
			t.Errorf("%s: found %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAcknowledgedReadingIsNotExpected(t *testing.T) {
	l := ledger()
	for _, f := range Taken(items(reading(sensors.Alarm, 1))) {
		l.Note(f)
	}
	rest := items(reading(sensors.Alarm, 2))
	if found := l.Check(rest, 0, every); len(found) > 0 {
		t.Error(found)
	}
	l.Note(Fact{Kind: Closed})
	if found := l.Check(rest, 0, every); len(found) != 2 {
		t.Errorf("after Close the two routine readings are expected: %v", found)
	}
}
