package outputs

import (
	"context"
	"log/slog"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// BenchmarkAnOrderIsDone measures the time from Do until the line is set and read back, on and off.
func BenchmarkAnOrderIsDone(b *testing.B) {
	ignore := func(sensors.Reading) {}
	s := NewSet(Wiring{Open: func(context.Context, Spec) (Line, error) { return &steadyLine{}, nil },
		Observe: ignore, Record: ignore, Report: func(sensors.Event) {},
		Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler)})
	ctx, end := context.WithCancel(b.Context())
	defer s.Wait()
	defer end()
	s.Change(ctx, []Spec{spec("siren", func(s *Spec) { s.MaxOn = 0 })}, func([]Spec) {})
	done := make(chan Answer, 1)
	order := Order{Output: "siren", By: "x", Answer: func(a Answer) { done <- a }}
	for b.Loop() {
		order.On = !order.On
		s.Do(order)
		if a := <-done; !a.Done {
			b.Fatal(a.Why)
		}
	}
}

// steadyLine is a line that always works.
type steadyLine struct{ on bool }

func (l *steadyLine) Set(_ context.Context, on bool) error { l.on = on; return nil }

func (l *steadyLine) Get(context.Context) (bool, error) { return l.on, nil }

func (l *steadyLine) Close() error { return nil }
