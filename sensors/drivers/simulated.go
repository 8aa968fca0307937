package drivers

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// simulatedOptions are the options of kind simulated, for tests, demos and load tests: a wave, steps
// or a counter.
type simulatedOptions struct {
	// mean + swing * sin(2πt/period), rounded to 0.01; keys quantity, unit, mean, swing,
	// period
	Wave *wave `yaml:"wave"`
	// cycles through the states, beginning with the first; keys states, every
	Steps *steps `yaml:"steps"`
	// {}: the number of the reading
	Counter *struct{} `yaml:"counter"`
	// {every: 20}: one read in twenty is an error
	Fail *fail `yaml:"fail"`
	// Home Assistant's device class; without it the quantity, if that is a class with this unit
	Class string `yaml:"class"`
}

// wave is mean + swing * sin(2πt/period), rounded to 0.01. t is the time since the sensor was opened.
type wave struct {
	Quantity string        `yaml:"quantity"`
	Unit     string        `yaml:"unit"`
	Mean     float64       `yaml:"mean"`
	Swing    float64       `yaml:"swing"`
	Period   time.Duration `yaml:"period"`
}

// steps cycles through the states. The first one is reported at once.
type steps struct {
	States []string      `yaml:"states"`
	Every  time.Duration `yaml:"every"`
}

// fail makes one read in Every an error.
type fail struct {
	Every int `yaml:"every"`
}

// newSimulated has no default for wave, steps and counter.
func newSimulated() Options { return &simulatedOptions{} }

// Check checks that there is exactly one source of values.
func (o *simulatedOptions) Check() (problems []Problem) {
	n := 0
	if o.Wave != nil {
		n++
		problems = append(problems, o.Wave.check()...)
	}
	if o.Steps != nil {
		n++
		problems = append(problems, o.Steps.check()...)
	}
	if o.Counter != nil {
		n++
	}
	if n != 1 {
		problems = append(problems, problem("", "needs one of wave, steps and counter, and has %d", n))
	}
	if o.Fail != nil && o.Fail.Every < 1 {
		problems = append(problems, problem("fail.every",
			"is missing or not positive: write e.g. 20, for one read in twenty"))
	}
	return problems
}

// check returns what is wrong below the key `wave`.
func (w *wave) check() (problems []Problem) {
	if !sensors.IsName(w.Quantity) {
		problems = append(problems, problem("wave.quantity",
			"%q is missing or has other characters than A-Z a-z 0-9 _ -", w.Quantity))
	}
	if w.Period <= 0 {
		problems = append(problems, problem("wave.period", "is missing or not positive: write e.g. 1h"))
	}
	return problems
}

// check returns what is wrong below the key `steps`. It rejects a single state, which would never
// change.
func (s *steps) check() (problems []Problem) {
	if len(s.States) < 2 {
		problems = append(problems, problem("steps.states", "needs two at least: write e.g. [closed, open]"))
	}
	if slices.Contains(s.States, "") || len(slices.Compact(slices.Sorted(slices.Values(s.States)))) < len(s.States) {
		problems = append(problems, problem("steps.states", "%q has an empty one, or one twice", s.States))
	}
	if s.Every <= 0 {
		problems = append(problems, problem("steps.every", "is missing or not positive: write e.g. 700ms"))
	}
	return problems
}

// Pace is 0 for steps, which wait for the next one.
func (o *simulatedOptions) Pace() time.Duration {
	if o.Steps != nil {
		return 0
	}
	return time.Second
}

// Quantities returns one quantity, whose name depends on the source of values.
func (o *simulatedOptions) Quantities() []sensors.Quantity {
	q := sensors.Quantity{Name: "count", Class: o.Class}
	switch {
	case o.Wave != nil:
		q.Name, q.Unit = o.Wave.Quantity, o.Wave.Unit
	case o.Steps != nil:
		q.Name, q.States = "state", o.Steps.States
	}
	return []sensors.Quantity{q}
}

// Open starts the wave, the steps or the counter from their beginning.
func (o *simulatedOptions) Open(context.Context, *Hardware) (sensors.Sensor, error) {
	return &simulated{options: o, quantity: o.Quantities()[0].Name, opened: time.Now()}, nil
}

// simulated is one open sensor. A wave depends only on the time, not on the number of reads. A counter
// counts the reads, so that a missing one can be seen.
type simulated struct {
	options  *simulatedOptions
	quantity string
	opened   time.Time
	reads    int
}

// errSimulated is the error of the reads that `fail` selects.
var errSimulated = errors.New("simulated failure")

// Next returns a value, or a sample with an error if `fail` selects this read. The sensor stays open,
// so that a counter continues.
func (s *simulated) Next(ctx context.Context) ([]sensors.Sample, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.reads++
	sample := sensors.Sample{Quantity: s.quantity, Value: s.value()}
	if f := s.options.Fail; f != nil && s.reads%f.Every == 0 {
		sample.Value, sample.Err = 0, errSimulated
	}
	return []sensors.Sample{sample}, nil
}

// wait waits until the next step is due. A wave and a counter do not wait.
func (s *simulated) wait(ctx context.Context) error {
	if s.options.Steps == nil {
		return ctx.Err()
	}
	// Computed from the start, so that steps do not drift.
	due := s.opened.Add(time.Duration(s.reads) * s.options.Steps.Every)
	return host.Sleep(ctx, time.Until(due))
}

// value returns the value of this read.
func (s *simulated) value() float64 {
	switch o := s.options; {
	case o.Wave != nil:
		t := time.Since(s.opened)
		return host.RoundHundredths(o.Wave.Mean + o.Wave.Swing*math.Sin(2*math.Pi*t.Seconds()/o.Wave.Period.Seconds()))
	case o.Steps != nil:
		return float64((s.reads - 1) % len(o.Steps.States))
	}
	return float64(s.reads)
}

// IsImmediate returns false for steps, whose Next waits.
func (s *simulated) IsImmediate() bool { return s.options.Steps == nil }

func (s *simulated) Close() error { return nil }
