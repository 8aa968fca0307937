package output

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// gpioOptions are those of a GPIO line of the machine.
type gpioOptions struct {
	Pin gpio.Pin
	Low bool // the line is low while the output is on
}

// Check has nothing to say: a pin is checked when it is decoded.
func (o *gpioOptions) Check() []drivers.Problem { return nil }

// Claims is the line, in one form however it is written.
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

// A gpioLine is a [gpio.Output], or that of a test.
type gpioLine interface {
	Set(high bool) error
	Level() (high bool, err error)
	Close() error
}

// levelLine is an output on a line with a level.
type levelLine struct {
	line gpioLine
	low  bool // the line is low while the output is on
}

func (l *levelLine) Set(_ context.Context, on bool) error { return l.line.Set(on != l.low) }

// Get reads the level at the pad, which a short circuit holds where it is.
func (l *levelLine) Get(context.Context) (on bool, err error) {
	high, err := l.line.Level()
	return high != l.low, err
}

func (l *levelLine) Close() error { return l.line.Close() }

// SafeLevel is the GPIO line of an output, and whether that is high at the safe level of the
// output. It is not ok for a line that is none of the machine's.
func SafeLevel(spec outputs.Spec) (pin gpio.Pin, high, ok bool) {
	o, ok := spec.Line.(*gpioOptions)
	if !ok {
		return gpio.Pin{}, false, false
	}
	return o.Pin, spec.Safe != o.Low, true
}
