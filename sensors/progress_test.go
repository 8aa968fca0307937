package sensors

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// TestOnlyDriverTimeCounts: the watchdog expects progress at all times except while a sampler is in its
// driver.
func TestOnlyDriverTimeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Duration
		var due time.Time
		var wrong []string
		progress := func(within time.Duration) {
			if now := time.Now(); last > 0 && now.After(due) {
				wrong = append(wrong, fmt.Sprint("late by ", now.Sub(due)))
			}
			last, due = within, time.Now().Add(within)
		}
		inDriver := func(where string) {
			if last != 0 {
				wrong = append(wrong, fmt.Sprint(where, ": progress is due within ", last))
			}
		}
		next := func(ctx context.Context) ([]Sample, error) {
			inDriver("measure")
			select {
			case <-time.After(5 * time.Second):
				return sample(42), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		Run(ctx, []Spec{{Name: "room", Every: 10 * time.Minute,
			Streams: []Stream{{Name: "room", Quantity: Quantity{Name: "q"}}}}}, Wiring{
			Open: func(context.Context, Spec) (Sensor, error) {
				inDriver("open")
				return device{next, func() { inDriver("close") }}, nil
			},
			Record: func(Reading) {
				if last <= 0 {
					wrong = append(wrong, "nothing is due while a reading is recorded")
				}
			},
			Report: func(Event) {}, Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
			Watch: func(sensor string) func(time.Duration) {
				if sensor != "room" {
					t.Errorf("the sampler of %q", sensor)
				}
				return progress
			},
		})
		if last != 0 {
			t.Errorf("progress is due within %v after the end", last)
		}
		if len(wrong) > 0 {
			t.Error(wrong)
		}
	})
}
