package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// fillQueue makes a file with n readings of each priority.
func fillQueue(t *testing.T, n int) queue.Options {
	t.Helper()
	opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 1 << 20, SyncEvery: 5 * time.Second, Clock: sensors.NewTimekeeper(sensors.TrustAuto)}
	q, err := queue.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(n) {
		at := opt.Clock.Now()
		q.Put(sensors.Reading{Stream: "load", Seq: seq + 1, At: at, Value: float64(seq)})
		q.Report("canary", at, "{}") // as an alarm, but does not wait for the disk
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return opt
}

// TestPurgeLeavesNothing has files with a tail alone, and with blocks before it.
func TestPurgeLeavesNothing(t *testing.T) {
	for _, n := range []int{1, 100, 1100, 5000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			opt := fillQueue(t, n)
			s := shelf{opt: opt, path: opt.Path}
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
		{queue.Item{Reading: sensors.Reading{Err: "i2c-1 0x38:\n\tno acknowledge"}}, "error: i2c-1 0x38: no acknowledge"},
		{queue.Item{Event: "storage", Details: `{"state":"fails"}`}, `storage {"state":"fails"}`},
	} {
		if got := itemText(c.it); got != c.want {
			t.Errorf("%+v: %q, want %q", c.it, got, c.want)
		}
	}
}
