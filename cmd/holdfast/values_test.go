package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// TestPublishedValuesEqualMeasuredValues follows values from Sensor.Next through the
// sampler, the memory and the file of the queue, to the payload.
func TestPublishedValuesEqualMeasuredValues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(rapid.Custom(drawMeasured), 1, 300).Draw(rt, "values")
		readings := sampled(t, values)
		opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 64 << 20, SyncEvery: time.Hour}
		q, err := queue.Open(opt, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range readings {
			q.Put(r)
		}
		arrive(rt, "from memory", q, values)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if q, err = queue.Open(opt, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		arrive(rt, "from disk", q, values)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// drawMeasured is any number that a sensor can measure.
func drawMeasured(t *rapid.T) float64 {
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		return rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "any")
	case 1:
		return float64(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "count"))
	case 2:
		return math.Float64frombits(rapid.Uint64Range(0, 0x7fef_ffff_ffff_ffff).Draw(t, "bits")) // including the smallest
	}
	places := rapid.IntRange(0, 12).Draw(t, "places")
	return float64(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "digits")) / math.Pow10(places)
}

// script is a sensor that measures values, one after the other.
type script struct{ values []float64 }

func (s *script) Close() error { return nil }

func (s *script) Next(ctx context.Context) ([]sensors.Sample, error) {
	if len(s.values) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	v := s.values[0]
	s.values = s.values[1:]
	return []sensors.Sample{{Quantity: "total", Value: v}}, nil
}

// sampled are the readings that the sampler makes of values.
func sampled(t *testing.T, values []float64) (readings []sensors.Reading) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream := sensors.Stream{Name: "meter", Quantity: sensors.Quantity{Name: "total"}}
		spec := sensors.Spec{Name: "meter", Streams: []sensors.Stream{stream}}
		_ = sensors.Run(ctx, []sensors.Spec{spec}, sensors.Wiring{
			Open: func(context.Context, sensors.Spec) (sensors.Sensor, error) { return &script{values}, nil },
			Record: func(r sensors.Reading) {
				if readings = append(readings, r); len(readings) == len(values) {
					cancel()
				}
			},
			Report: func(e sensors.Event) { t.Error(e.Name, string(e.Details)) },
			Clock:  clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
		})
	})
	return readings
}

// arrive checks that the payloads of what is in the queue have the values.
func arrive(t *rapid.T, from string, q *queue.Queue, values []float64) {
	t.Helper()
	items, err := q.Peek(&queue.Cursor{}, len(values)+1)
	if err != nil || len(items) != len(values) {
		t.Fatalf("%s: %d of %d readings, %v", from, len(items), len(values), err)
	}
	for i, it := range items {
		var got struct{ Value float64 }
		text := payload.Append(nil, it, false)
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.Value != values[i] || math.Signbit(got.Value) != (values[i] < 0) {
			t.Fatalf("%s: %s, measured was %s", from, text, fmt.Sprint(values[i]))
		}
	}
}
