package drivers

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// contactOptions are the options of kind contact: a switch, a reed or the
// output of a detector on a GPIO line.
//
// A closed circuit takes the line away from its pull: to low with the pull up,
// to high with the pull down. With the pull off, the line is taken to be pulled
// up by a resistor outside.
type contactOptions struct {
	GPIO     Pin           `yaml:"gpio" doc:"the line: GPIO17, 17, pin11, gpiochip0/17 or line:NAME"`
	Pull     pull          `yaml:"pull" doc:"up, down or off: the resistor inside the SoC"`
	Normally string        `yaml:"normally" doc:"the circuit while the value is 0: closed or open; without it, a high line is 1"`
	Debounce time.Duration `yaml:"debounce" doc:"how long a level has to hold"`
	Class    string        `yaml:"class" doc:"Home Assistant's device class of a binary sensor; it gives the states their words"`
}

const mostDebounce = 10 * time.Second

func newContact() Options {
	return &contactOptions{Pull: pullUp, Debounce: 50 * time.Millisecond}
}

func (o *contactOptions) Check() (problems []Problem) {
	if o.GPIO.form == noPin {
		problems = append(problems, problem("gpio", "is missing: %s", pinForms))
	}
	if o.Pull != pullUp && o.Pull != pullDown && o.Pull != pullOff {
		problems = append(problems, problem("pull", "%q is not up, down or off", o.Pull))
	}
	if o.Normally != "" && o.Normally != "closed" && o.Normally != "open" {
		problems = append(problems, problem("normally", "%q is not closed or open (the circuit, while the door is shut or nothing moves)", o.Normally))
	}
	if o.Debounce < 0 || o.Debounce > mostDebounce {
		problems = append(problems, problem("debounce", "%v is not between 0 and %v", o.Debounce, mostDebounce))
	}
	if _, ok := classWords[o.Class]; !ok {
		problems = append(problems, problem("class", "unknown class %q: Home Assistant knows %s", o.Class, knownClasses()))
	}
	return problems
}

// Pace is 0: a contact reports when it changes.
func (o *contactOptions) Pace() time.Duration { return 0 }

func (o *contactOptions) Claims() []string { return []string{o.GPIO.String()} }

func (o *contactOptions) Quantities() []sensors.Quantity {
	words := classWords[o.Class]
	return []sensors.Quantity{{Name: "contact", Class: o.Class, States: words[:]}}
}

func (o *contactOptions) Open(_ context.Context, h *Hardware) (sensors.Sensor, error) {
	l, err := h.line(o.GPIO, o.Pull)
	if err != nil {
		return nil, err
	}
	return &contact{pin: o.GPIO, line: l, highIs: o.highIs(), debounce: debounce{hold: o.Debounce}}, nil
}

// highIs is the value of a high line, 0 or 1. The value is 1 when the circuit is
// not as it normally is.
func (o *contactOptions) highIs() float64 {
	if highIsOpen := o.Pull != pullDown; o.Normally == "open" && highIsOpen ||
		o.Normally == "closed" && !highIsOpen {
		return 0
	}
	return 1
}

// contact is one open contact.
type contact struct {
	pin      Pin
	line     line
	highIs   float64
	debounce debounce
}

// Next reports the level as soon as it has held after the start, and then each
// level that is another. It looks at the line at every edge and every 250 ms, so
// that a missed edge delays a report and never loses the level.
func (c *contact) Next(ctx context.Context) ([]sensors.Sample, error) {
	for ctx.Err() == nil {
		high, err := c.line.level()
		if err != nil {
			return nil, fmt.Errorf("%v: read the level: %w", c.pin, err)
		}
		if c.debounce.see(high, time.Now()) {
			return []sensors.Sample{{Quantity: "contact", Value: c.value(high)}}, nil
		}
		edge, err := c.line.wait(c.debounce.next(time.Now()))
		if err != nil {
			return nil, fmt.Errorf("%v: wait for an edge: %w", c.pin, err)
		}
		if edge {
			c.debounce.edge(time.Now())
		}
	}
	return nil, ctx.Err()
}

func (c *contact) value(high bool) float64 {
	if high {
		return c.highIs
	}
	return 1 - c.highIs
}

func (c *contact) Close() error { return c.line.Close() }
