package drivers

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// pulseOptions are the options of kind pulse: a rain gauge, or a meter for water,
// gas or energy, that closes a contact for each portion.
type pulseOptions struct {
	// the line: GPIO17, 17, pin11, gpiochip0/17 or line:NAME
	GPIO gpio.Pin `yaml:"gpio"`
	// up, down or off: the resistor inside the SoC
	Pull gpio.Pull `yaml:"pull"`
	// the edge that is a pulse: falling, as of a contact to ground, or rising
	Edge string `yaml:"edge"`
	// an edge that follows a pulse sooner than this is a bounce; it has to be shorter than the
	// time between two pulses
	Debounce time.Duration `yaml:"debounce"`
	// how much a pulse is, in the unit: 0.2794 mm, 1 L, 0.001 kWh
	PerPulse float64 `yaml:"per_pulse"`
	// what is counted: rain, water, energy
	Quantity string `yaml:"quantity"`
	// of the quantity
	Unit string `yaml:"unit"`
	// Home Assistant's device class: precipitation, water, gas, volume or energy
	Class string `yaml:"class"`
	// the time between two readings
	Report time.Duration `yaml:"report_every"`
}

// newPulse counts falling edges with the pull-up on, for a reed contact to ground. The debounce time
// of 5 ms is shorter than the pulse of any meter with a contact.
func newPulse() Options {
	return &pulseOptions{Pull: gpio.PullUp, Edge: "falling", Debounce: 5 * time.Millisecond, PerPulse: 1,
		Quantity: "count", Report: time.Minute}
}

// Bounds of the time between two reports. The rate is an average over it, which has little meaning
// below 0.1 s.
const (
	minReport   = 100 * time.Millisecond
	maxReport   = 24 * time.Hour
	firstReport = 10 * time.Second // after the start, so that the user soon sees the stream
)

// Check returns what is wrong with the options.
func (o *pulseOptions) Check() []Problem {
	problems := checkLine(o.GPIO, o.Pull)
	if o.Edge != "falling" && o.Edge != "rising" {
		problems = append(problems, problem("edge", "%q is not falling or rising", o.Edge))
	}
	if o.Debounce < 0 || o.Debounce > maxDebounce {
		problems = append(problems, problem("debounce", "%v is not between 0 and %v", o.Debounce, maxDebounce))
	}
	if !(o.PerPulse > 0) || math.IsInf(o.PerPulse, 0) {
		problems = append(problems, problem("per_pulse", "must be more than 0"))
	}
	if o.Quantity == "" || o.Quantity == "rate" {
		problems = append(problems, problem("quantity",
			"%q: name what is counted, as in rain; the rate is a quantity of its own", o.Quantity))
	}
	if o.Report < minReport || o.Report > maxReport {
		problems = append(problems, problem("report_every", "%v is not between %v and %v",
			o.Report, minReport, maxReport))
	}
	return append(problems, checkMeter(o.Class, o.Unit)...)
}

// Pace is 0: the edges must be read all the time.
func (o *pulseOptions) Pace() time.Duration { return 0 }

// Claims returns the line, in the same form for all ways to write it.
func (o *pulseOptions) Claims() []string { return []string{o.GPIO.String()} }

// Quantities returns the total since the sensor was opened and the rate per hour.
func (o *pulseOptions) Quantities() []sensors.Quantity {
	return []sensors.Quantity{{Name: o.Quantity, Unit: o.Unit, Class: o.Class, Total: true}, rateOf(o.Class, o.Unit)}
}

// Open begins to count. The kernel buffers up to 1024 edges.
func (o *pulseOptions) Open(_ context.Context, h *Hardware) (sensors.Sensor, error) {
	want := gpio.Request{Pull: o.Pull, Edges: gpio.FallingEdges, Buffer: 1024}
	if o.Edge == "rising" {
		want.Edges = gpio.RisingEdges
	}
	l, err := h.OpenPin(o.GPIO, want)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &pulse{
		options: o, line: l,
		count: pulseCount{apart: o.Debounce, at: now},
		begun: now, due: now.Add(min(o.Report, firstReport)),
	}, nil
}

// pulse is one open counter.
type pulse struct {
	options *pulseOptions
	line    gpio.Line
	count   pulseCount

	begun time.Time // when the current period began
	due   time.Time // when it ends
	base  uint64    // pulses before it
	ended error     // why counting ended; Next returns it after the last report
	edges [64]gpio.Edge
}

// gatherEdges is how long edges stay in the kernel's buffer of 1024 before they are read together: at
// most 50 reads per second, and no loss up to 50 kHz.
const gatherEdges = 20 * time.Millisecond

// Next counts pulses until the next report. It returns the total since the sensor was opened, which
// never decreases, and the rate per hour since the last report. If ctx ends or the line fails, it
// first reports what it has counted, and then returns the error.
func (p *pulse) Next(ctx context.Context) ([]sensors.Sample, error) {
	for p.ended == nil && time.Now().Before(p.due) {
		if p.ended = ctx.Err(); p.ended == nil {
			p.ended = p.waitEdges(ctx)
		}
	}
	// Report the pulses before the error.
	if p.ended != nil && p.count.pulses == p.base {
		return nil, p.ended
	}
	return p.report(), nil
}

// waitEdges waits for edges, or until the report is due. After edges it waits for gatherEdges, because
// a meter at full load may have hundreds of pulses per second.
func (p *pulse) waitEdges(ctx context.Context) error {
	n, err := p.line.WaitEdges(ctx, time.Until(p.due), p.edges[:])
	for _, e := range p.edges[:n] {
		p.count.edge(e.At, e.Lost)
	}
	if err != nil {
		return fmt.Errorf("%v: wait for a pulse: %w", p.options.GPIO, err)
	}
	if n > 0 && n < len(p.edges) {
		_ = host.Sleep(ctx, min(time.Until(p.due), gatherEdges))
	}
	return nil
}

// report returns the total and the rate, and begins the next period. Reports stay on a fixed grid;
// missed ones are skipped.
func (p *pulse) report() []sensors.Sample {
	now := time.Now()
	fresh := float64(p.count.pulses-p.base) * p.options.PerPulse
	rate := fresh / max(now.Sub(p.begun), time.Millisecond).Hours()
	p.begun, p.base = now, p.count.pulses
	for !p.due.After(now) {
		p.due = p.due.Add(p.options.Report)
	}
	places := host.DecimalPlaces(p.options.PerPulse) // 41.91, not 41.910000000000004
	return []sensors.Sample{
		{Quantity: p.options.Quantity, Value: host.Round(float64(p.count.pulses)*p.options.PerPulse, places)},
		{Quantity: "rate", Value: host.Round(rate, max(places+2, 6))},
	}
}

// Close releases the line.
func (p *pulse) Close() error { return p.line.Close() }

// pulseCount counts the pulses of a bouncing contact by the times of its edges. It reads no clock and
// no hardware.
type pulseCount struct {
	apart  time.Duration // minimum time between two pulses
	at     time.Time     // of the last pulse, or of the start: enabling the pull-up causes an edge
	pulses uint64
}

// edge counts an edge if it is a pulse, and the edges that were lost before it. It is not known which
// of the lost edges were bounces: all of them count, but at most as many as pulses are possible in
// that time.
func (c *pulseCount) edge(at time.Time, lost uint32) {
	since := at.Sub(c.at)
	if since < c.apart {
		return
	}
	missed := uint64(lost)
	if c.apart > 0 {
		missed = min(missed, uint64(since/c.apart)-1)
	}
	c.pulses += missed + 1
	c.at = at
}
