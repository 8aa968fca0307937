package output

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// gpioOptions are the options of a GPIO line of the machine.
type gpioOptions struct {
	Pin gpio.Pin
	Low bool // the line is low while the output is on
}

// Check returns nothing: a pin is checked when it is parsed.
func (o *gpioOptions) Check() []drivers.Problem { return nil }

// Claims returns the line, in the same form for all ways to write it.
func (o *gpioOptions) Claims() []string { return []string{o.Pin.String()} }

// open requests the line as an output with its safe level in one step.
func (o *gpioOptions) open(_ context.Context, h *Hardware, safe bool) (outputs.Line, error) {
	open := h.openGPIO
	if open == nil {
		open = func(pin gpio.Pin, high bool) (gpioLine, error) { return gpio.OpenOutput(&h.Host, pin, high) }
	}
	l, err := open(o.Pin, safe != o.Low)
	if err != nil {
		return nil, err
	}
	return &levelLine{line: l, low: o.Low}, nil
}

// A gpioLine is a [gpio.Output], or a fake of a test.
type gpioLine interface {
	Set(high bool) error
	Level() (high bool, err error)
	Close() error
}

// levelLine is an output on a GPIO line.
type levelLine struct {
	line gpioLine
	low  bool // the line is low while the output is on
}

func (l *levelLine) Set(_ context.Context, on bool) error { return l.line.Set(on != l.low) }

// Get reads the level at the pin, which differs from the set one if there is a short circuit.
func (l *levelLine) Get(context.Context) (on bool, err error) {
	high, err := l.line.Level()
	return high != l.low, err
}

func (l *levelLine) Close() error { return l.line.Close() }

// SafeLevel returns the GPIO line of an output, and whether the line is high in the safe state of
// the output. ok is false for other kinds of lines.
func SafeLevel(spec outputs.Spec) (pin gpio.Pin, high, ok bool) {
	o, ok := spec.Line.(*gpioOptions)
	if !ok {
		return gpio.Pin{}, false, false
	}
	return o.Pin, spec.Safe != o.Low, true
}
