package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// show prints buckets, relative to a time.
func show(t *testing.T, s *Store, r Range, width time.Duration, from int64) string {
	t.Helper()
	all, err := s.Buckets(context.Background(), r, width)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, k := range all {
		fmt.Fprintf(&b, "%v n=%d errors=%d %v..%v mean %v\n", time.Duration(k.TS-from)*time.Millisecond, k.N, k.Errors,
			k.Min, k.Max, k.Mean)
	}
	return b.String()
}

// midnight is the begin of the day of the test readings.
const midnight = start - start%day

// measured returns a reading with a time and a value; NaN is an error.
func measured(ts, seq int64, value float64) Item {
	text := fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":%v}`, ts, seq, value)
	if math.IsNaN(value) {
		text = fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":null,"error":"off"}`, ts, seq)
	}
	return got(start, "porch/hum", text)
}

func rollUp(t *testing.T, s *Store) int {
	t.Helper()
	n, err := s.RollUp(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRollupsMatchTheReadings(t *testing.T) {
	s := opened(t)
	r := Range{Device: "porch", Stream: "hum", From: midnight, To: midnight + 2*day}
	commitAll(t, s, measured(midnight+1, 1, 10), measured(midnight+2, 2, 20), measured(midnight+hour, 3, 5),
		measured(midnight+hour+1, 4, math.NaN()), measured(midnight+day, 5, 7))
	if n := rollUp(t, s); n != 3 {
		t.Errorf("%d hours", n)
	}
	want := "0s n=2 errors=0 10..20 mean 15\n1h0m0s n=1 errors=1 5..5 mean 5\n24h0m0s n=1 errors=0 7..7 mean 7\n"
	for _, width := range []time.Duration{time.Hour, 20 * time.Minute} { // from the rollup and from readings
		if got := show(t, s, r, width, midnight); got != want {
			t.Errorf("%v:\n%s", width, got)
		}
	}
	// A late reading, and one whose time gets better, change their hours and days.
	commitAll(t, s, measured(midnight+3, 6, 60), got(start, "porch/hum",
		fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":7,"value":1,"clock":"unsynced"}`, midnight+5*hour)))
	commitAll(t, s, measured(midnight+6*hour, 7, 1))
	rollUp(t, s)
	want = "0s n=5 errors=1 1..60 mean 19.2\n24h0m0s n=1 errors=0 7..7 mean 7\n"
	if got := show(t, s, r, 24*time.Hour, midnight); got != want {
		t.Errorf("days:\n%s", got)
	}
	if got := show(t, s, r, time.Hour, midnight); strings.Contains(got, "5h0m0s") || !strings.Contains(got, "6h0m0s n=1") {
		t.Errorf("hours:\n%s", got)
	}
	if n := rollUp(t, s); n != 0 {
		t.Errorf("%d hours are computed without a change", n)
	}
}

func TestRetainKeepsHoursAndDays(t *testing.T) {
	s := opened(t)
	ctx := context.Background()
	r := Range{Device: "porch", Stream: "hum", From: midnight, To: midnight + 9*day}
	var batch []Item
	for i := range int64(48) {
		batch = append(batch, measured(midnight+i*hour/2*3, i+1, float64(i))) // three days
	}
	commitAll(t, s, batch...)
	// An invalid call deletes nothing: all rows are still there below.
	done, err := s.Retain(ctx, time.UnixMilli(midnight+day), time.UnixMilli(midnight+2*day))
	if err == nil || done != (Deleted{}) {
		t.Errorf("hours that end later than readings: %+v %v", done, err)
	}
	done, err = s.Retain(ctx, time.UnixMilli(midnight+2*day+hour), time.Time{})
	if err != nil || done.Readings != 32 {
		t.Fatalf("%+v %v", done, err)
	}
	before := show(t, s, r, time.Hour, midnight)
	if strings.Count(before, "\n") != 48 {
		t.Errorf("hours:\n%s", before)
	}
	// A reading that is late by more than that is in its hour and day, and a second copy
	// of one that was deleted is not counted again.
	result := commitAll(t, s, measured(midnight+10, 49, 100), measured(midnight, 1, 0))
	if result.Stored != 1 || result.Duplicates != 1 {
		t.Errorf("%+v", result)
	}
	rollUp(t, s)
	want := "0s n=17 errors=0 0..100 mean 12.941176470588236\n24h0m0s n=16 errors=0 16..31 mean 23.5\n" +
		"48h0m0s n=16 errors=0 32..47 mean 39.5\n"
	if got := show(t, s, r, 24*time.Hour, midnight); got != want {
		t.Errorf("days:\n%s", got)
	}
	// One of a clock that began in 1970 is not counted there: its time may get better.
	commitAll(t, s, got(start, "porch/hum", `{"ts":1000,"boot":"1-a","seq":50,"value":5,"clock":"unsynced"}`))
	var days int
	if err := s.read.QueryRow("SELECT count(*) FROM reading_day WHERE ts = 0").Scan(&days); err != nil || days != 0 {
		t.Errorf("%d days in 1970, %v", days, err)
	}
	if done, err = s.Retain(ctx, time.Time{}, time.UnixMilli(midnight+day)); err != nil || done.Hours != 16 {
		t.Fatalf("%+v %v", done, err)
	}
	if got := show(t, s, r, 24*time.Hour, midnight); got != want {
		t.Errorf("days, without their hours:\n%s", got)
	}
	if _, err := s.Retain(ctx, time.Time{}, time.UnixMilli(midnight+3*day)); err == nil {
		t.Error("hours were deleted whose readings are there")
	}
}

func TestFleet(t *testing.T) {
	s := opened(t)
	commitAll(t, s, numbered(start, "1-a", 1), numbered(start, "1-a", 4),
		got(start, "porch/agent/status", "offline"), got(start+5, "porch/agent/status", "online"),
		got(start+9, "porch/agent/status", "online"),
		got(start, "porch/agent/info", `{"version":"1.2","boot":"1-a","hardware":"Pi"}`),
		got(start, "porch/agent/health", `{"ts":7,"backlog":3,"oldest":2.5,"dropped":1,"clock":"ok","faults":["hum"]}`),
		got(start, "porch/agent/event", `{"ts":9,"boot":"1-a","seq":1,"event":"fault","stream":"hum"}`),
		got(start, "attic/temp", "3"))
	fleet, err := s.Fleet(context.Background())
	if err != nil || len(fleet) != 2 || fleet[0].Name != "attic" {
		t.Fatalf("%+v %v", fleet, err)
	}
	p := fleet[1]
	if !p.Online.Bool || p.OnlineSince.Int64 != start+5 || p.Version != "1.2" || p.Backlog.Int64 != 3 ||
		p.Oldest.Float64 != 2.5 || p.Clock != "ok" || p.Faults != `["hum"]` || p.Missing != 2 || p.Streams != 1 ||
		p.LastAt.Int64 != start {
		t.Errorf("%+v", p)
	}
	streams, err := s.Streams(context.Background(), "porch")
	if err != nil || len(streams) != 1 || streams[0].Last.Seq.Int64 != 4 {
		t.Errorf("%+v %v", streams, err)
	}
	events, _, err := s.Events(context.Background(), Range{Device: "porch", To: math.MaxInt64}, 10)
	if err != nil || len(events) != 1 || events[0].Name != "fault" || events[0].TS != 9 {
		t.Errorf("%+v %v", events, err)
	}
}

// TestSpansLieBetweenMeasurements has a gap whose neighbours arrive an hour after they
// were measured, and one at the begin of a boot.
func TestSpansLieBetweenMeasurements(t *testing.T) {
	s := opened(t)
	const arrived = start + 3_600_000
	one := func(seq int64) Item {
		return got(arrived+seq, "porch/hum",
			fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":1,"historical":true}`, start+seq*1000, seq))
	}
	commitAll(t, s, one(3), one(4), one(8))
	r := Range{Device: "porch", Stream: "hum", From: start + 5000, To: start + 6000}
	all, err := s.Spans(t.Context(), r, 10)
	if err != nil || len(all) != 1 || all[0].Begin != start+4000 || all[0].End != start+8000 || all[0].From != 5 ||
		all[0].To != 7 || all[0].State != "missing" {
		t.Errorf("between: %+v %v", all, err)
	}
	r.From, r.To = start+8001, start+9000
	if all, err = s.Spans(t.Context(), r, 10); err != nil || len(all) != 0 {
		t.Errorf("behind: %+v %v", all, err)
	}
	r.From, r.To = 0, arrived*2
	if all, err = s.Spans(t.Context(), r, 1); err != nil || len(all) != 1 {
		t.Errorf("a limit of 1: %+v %v", all, err)
	}
	buckets, err := s.Buckets(t.Context(), r, time.Minute)
	if err != nil || len(buckets) != 1 || buckets[0].Late.Int64 != 3 {
		t.Errorf("late: %+v %v", buckets, err)
	}
	r.Stream = "none"
	if _, err = s.Spans(t.Context(), r, 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("no such stream: %v", err)
	}
}

// The sum of an hour must fit into the database for any values.
func TestRollupsSurviveTheLargestValues(t *testing.T) {
	s := opened(t)
	commitAll(t, s, measured(midnight+1, 1, 1.7e308), measured(midnight+2, 2, 1.7e308), measured(midnight+3, 3, -1.7e308),
		measured(midnight+hour, 4, 5))
	rollUp(t, s)
	r := Range{Device: "porch", Stream: "hum", From: midnight, To: midnight + day}
	if got := show(t, s, r, time.Hour, midnight+hour); !strings.Contains(got, "0s n=1 errors=0 5..5 mean 5") {
		t.Errorf("%s", got)
	}
}

// A number that no agent reaches must not hide the fleet.
func TestFleetSurvivesTheLargestNumbers(t *testing.T) {
	s := opened(t)
	var items []Item
	for i := range 2000 {
		items = append(items, got(start, "porch/hum", fmt.Sprintf(`{"ts":5,"boot":"%d-a","seq":%d,"value":1}`, i, 1<<53)))
	}
	commitAll(t, s, items...)
	commitAll(t, s, got(start, "porch/hum", fmt.Sprintf(`{"ts":5,"boot":"1-b","seq":%d,"value":1}`, math.MaxInt64-1)))
	fleet, err := s.Fleet(context.Background())
	if err != nil || fleet[0].Missing != 1<<62 {
		t.Error(fleet, err)
	}
}

// The age of a reading whose clock was not set is that of its arrival.
func TestRetainUsesReceivedAtForUnsyncedClocks(t *testing.T) {
	s := opened(t)
	commitAll(t, s, got(start, "porch/hum", `{"ts":1000,"boot":"1-a","seq":1,"value":5,"clock":"unsynced"}`),
		measured(1001, 2, 5), measured(midnight, 3, 5))
	for _, step := range []struct{ before, deleted int64 }{{midnight - day, 1}, {midnight - day, 0}, {midnight + day, 2}} {
		done, err := s.Retain(t.Context(), time.UnixMilli(step.before), time.Time{})
		if err != nil || done.Readings != step.deleted {
			t.Errorf("before %d: %+v %v, want %d", step.before, done, err, step.deleted)
		}
	}
}
