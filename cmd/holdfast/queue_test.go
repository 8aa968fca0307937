package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// fillQueue creates a file with n readings of each priority.
func fillQueue(t *testing.T, n int) queue.Options {
	t.Helper()
	opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 1 << 20, SyncEvery: 5 * time.Second,
		Clock: clock.NewTimekeeper(clock.TrustAuto)}
	q, err := queue.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(n) {
		at := opt.Clock.Now()
		q.Put(sensors.Reading{Stream: "load", Seq: seq + 1, At: at, Value: float64(seq)})
		// like an alarm, but it does not wait for the disk
		q.Report(sensors.Event{Name: "canary", At: at, Details: json.RawMessage("{}")})
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return opt
}

// refuse rejects the first readings of a queue, as the agent does when a broker refuses
// them: refuse FILE NUMBER.
func refuse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: refuse FILE NUMBER")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(setAside(queue.Options{Path: ts.MkAbs(args[0]), MaxSize: 1 << 20, SyncEvery: 5 * time.Second}, n))
}

func setAside(opt queue.Options, n int) error {
	q, err := queue.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	items, err := q.Peek(&queue.Cursor{}, n)
	for _, it := range items {
		err = errors.Join(err, q.Reject(it, false))
	}
	return errors.Join(err, q.Close())
}

// TestPurgeDiscardsRejectedItems even if nothing else waits.
func TestPurgeDiscardsRejectedItems(t *testing.T) {
	opt := fillQueue(t, 3)
	if err := setAside(opt, 6); err != nil {
		t.Fatal(err)
	}
	s := queueCmd{opt: opt, path: opt.Path, yes: true}
	if before, err := s.total(); err != nil || before.Rejected != 6 ||
		before.Routine+before.Alarms+before.Events != 0 || len(before.Streams) != 0 {
		t.Fatalf("before: %+v, %v, want nothing but 6 aside", before, err)
	}
	if err := s.purge(); err != nil {
		t.Fatal(err)
	}
	after, err := s.total()
	if err != nil || after.Rejected != 0 || after.Gaps != 1 || after.Missing != 3 {
		t.Errorf("afterwards: %+v, %v, want nothing but one gap of 3", after, err)
	}
}

// TestPurgeLeavesNothing has files with only a tail, and with blocks before it.
func TestPurgeLeavesNothing(t *testing.T) {
	for _, n := range []int{1, 100, 1100, 5000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			opt := fillQueue(t, n)
			s := queueCmd{opt: opt, path: opt.Path}
			if before, err := s.total(); err != nil || before.Routine != n || before.Alarms != n {
				t.Fatalf("before: %+v, %v, want %d of each lane", before, err, n)
			}
			if gone, err := s.purgeFile(); err != nil || gone != 2*n {
				t.Errorf("%d are gone, %v, want %d", gone, err, 2*n)
			}
			after, err := s.total()
			if err != nil || after.Routine+after.Alarms != 0 || after.Gaps != 1 || after.Missing != uint64(n) {
				t.Errorf("afterwards: %+v, %v, want nothing but one gap of %d", after, err, n)
			}
		})
	}
}

func TestItemsFitOnOneLine(t *testing.T) {
	for _, c := range []struct {
		it   queue.Item
		want string
	}{
		{queue.Item{Reading: sensors.Reading{Value: 45.25, Unit: "%"}}, "45.25 %"},
		{queue.Item{Reading: sensors.Reading{Value: 1, State: "open"}}, "open"},
		{queue.Item{Reading: sensors.Reading{Err: "i2c-1 0x38:\n\tno acknowledge"}},
			"error: i2c-1 0x38: no acknowledge"},
		{queue.Item{Event: "storage", Details: `{"state":"fails"}`}, `storage {"state":"fails"}`},
	} {
		if got := itemText(c.it); got != c.want {
			t.Errorf("%+v: %q, want %q", c.it, got, c.want)
		}
	}
}
