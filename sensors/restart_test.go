package sensors

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// afterOpening is a sensor that reports once when it is opened, and fails some time
// after that.
func afterOpening(works time.Duration) func() (func(context.Context) ([]Sample, error), error) {
	return func() (func(context.Context) ([]Sample, error), error) {
		opened, reported := time.Now(), false
		return func(ctx context.Context) ([]Sample, error) {
			if !reported {
				reported = true
				return sample(1), nil
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Until(opened.Add(works))):
			}
			return nil, errors.New("ended (status 0), and has to go on")
		}, nil
	}
}

// A command that prints one line and ends is restarted ever more rarely, and is a
// fault; one that ends after hours is started again at once.
func TestSensorThatEndsAtOnceIsAFault(t *testing.T) {
	lives := 0
	b := sampleFor(t, time.Hour-1, nil, map[string]func() (func(context.Context) ([]Sample, error), error){
		"ends": afterOpening(0),
		"goes": afterOpening(10 * time.Minute),
		"mends": func() (func(context.Context) ([]Sample, error), error) {
			if lives++; lives <= 5 {
				return afterOpening(time.Second)()
			}
			return func(ctx context.Context) ([]Sample, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(40 * time.Second):
					return sample(1), nil
				}
			}, nil
		},
	})
	if n := b.opened["ends"]; n < 200 || n > 250 { // every 15 s
		t.Errorf("opened %d times in an hour", n)
	}
	if n := b.opened["goes"]; n != 6 {
		t.Errorf("what ends every 10 minutes was opened %d times", n)
	}
	all := strings.Join(b.events, "\n")
	for want, times := range map[string]int{`fault {"error":"ended (status 0), and has to go ` +
		`on","failures":3,"sensor":"ends"}`: 1,
		`"sensor":"goes"`: 0, `fault {"error":"ended (status 0), and has to go on","failures":3,"sensor":"mends"}`: 1,
		`recovered {"after_s":`: 1} {
		if n := strings.Count(all, want); n != times {
			t.Errorf("%d times %s, want %d:\n%s", n, want, times, all)
		}
	}
}
