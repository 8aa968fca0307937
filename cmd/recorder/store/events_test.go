package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestAlarmsEventsAndLateHours checks the queries of the page and of import-ha.
func TestAlarmsEventsAndLateHours(t *testing.T) {
	s := opened(t)
	const hour = int64(time.Hour / time.Millisecond)
	first := start - start%hour
	change := func(after, seq int64, state string) Item {
		return got(first, "porch/hum_alarm", fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":0,"state":%q}`,
			first+after, seq, state))
	}
	measured := func(after, seq int64, rest string) Item {
		return got(first, "porch/hum", fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":%d,"unit":"%%"%s}`,
			first+after, seq, seq, rest))
	}
	const late = `,"historical":true`
	commitAll(t, s, change(0, 1, "alarm"), change(10, 2, "ok"), change(20, 3, "alarm"),
		measured(1, 1, ""), measured(hour+1, 2, late), measured(hour+2, 3, ""), measured(3*hour, 4, late),
		measured(4*hour, 5, late+`,"clock":"unsynced"`),
		got(first, "porch/agent/event",
			fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":1,"event":"fault","stream":"hum"}`, first+5)))

	for begin, want := range map[int64][]Alarm{
		0:  {{first, "alarm"}, {first + 10, "ok"}, {first + 20, "alarm"}},
		11: {{first + 10, "ok"}, {first + 20, "alarm"}}, // with the one before the range
		21: {{first + 20, "alarm"}},
	} {
		r := Range{Device: "porch", Stream: "hum", From: first + begin, To: first + hour}
		if all, err := s.Alarms(t.Context(), r, 10); err != nil || !slices.Equal(all, want) {
			t.Errorf("alarms from %d: %v %v, want %v", begin, all, err, want)
		}
	}
	all, _, err := s.Events(t.Context(), Range{Device: "porch", From: first, To: first + 6}, 10)
	if err != nil || len(all) != 1 || all[0].Name != "fault" || all[0].TS != first+5 {
		t.Errorf("events: %+v %v", all, err)
	}

	hours, err := s.LateHours(t.Context(), Range{From: first, To: first + 10*hour})
	if err != nil || len(hours) != 1 || hours[0].Stream != "hum" || hours[0].Unit != "%" ||
		!slices.Equal(hours[0].Hours, []int64{first + hour, first + 3*hour}) {
		t.Errorf("late hours: %+v %v", hours, err)
	}
	b, err := s.Summary(t.Context(), Range{Device: "porch", Stream: "hum", From: first + hour, To: first + 2*hour})
	if err != nil || b.N != 2 || b.Min != 2 || b.Max != 3 || b.Mean != 2.5 {
		t.Errorf("an hour: %+v %v", b, err)
	}
}

// The summary of an hour includes all its readings, even those that Retain has deleted, but no unsynced
// ones, whose hour is not known.
func TestSummaryIncludesAllReadingsOfAnHour(t *testing.T) {
	s := opened(t)
	first := midnight
	r := Range{Device: "porch", Stream: "hum", From: first, To: first + hour}
	check := func(when string, n int64, least, most, mean float64) {
		t.Helper()
		b, err := s.Summary(t.Context(), r)
		if err != nil || b.N != n || b.Min != least || b.Max != most || b.Mean != mean {
			t.Errorf("%s: %+v %v", when, b, err)
		}
	}
	commitAll(t, s, measured(first+1, 1, 10), measured(first+2, 2, 20), got(start, "porch/hum",
		fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":3,"value":90,"clock":"unsynced"}`, first+3)))
	check("with a clock that was not set", 2, 10, 20, 15)
	s = opened(t)
	commitAll(t, s, measured(first+1, 1, 10), measured(first+2, 2, 20))
	if _, err := s.Retain(t.Context(), time.UnixMilli(first+day), time.Time{}); err != nil {
		t.Fatal(err)
	}
	commitAll(t, s, measured(first+4, 4, 60))
	check("beyond the horizon", 3, 10, 60, 30)
}
