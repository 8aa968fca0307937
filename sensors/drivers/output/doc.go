// Package output opens the lines that outputs switch: GPIO lines, pins of port expanders on
// I2C, programs, and simulated ones.
//
// Each line is requested with its safe level in one step where the hardware has such a
// step, and its level is set before its direction where it has not. Once it is open, a line
// never has another level than the one that was ordered.
//
// # Concurrency
//
// [Hardware] opens lines for any number of goroutines. A line is for one goroutine at a
// time; lines that share a part wait for one another in drivers/i2c.
package output

import (
	"context"
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// Hardware is the machine that the lines belong to. It is safe for concurrent use, and not
// to be copied.
type Hardware struct {
	*drivers.Hardware // sensors use the same buses

	// openGPIO opens a line in place of the kernel, in tests; nil is the kernel.
	openGPIO func(pin gpio.Pin, high bool) (gpioLine, error)
}

// NewHardware is the hardware that sensors are opened on.
func NewHardware(h *drivers.Hardware) *Hardware {
	return &Hardware{Hardware: h}
}

// NewStandalone is the machine that the program runs on, for a program that opens outputs and
// nothing else: lines need no periph, which a small board takes long to set up.
func NewStandalone() *Hardware {
	return NewHardware(&drivers.Hardware{Host: host.Host{Dev: "/dev", Sys: "/sys", Proc: "/proc"}})
}

// Options are the options of one line.
type Options interface {
	// Check says what is wrong with the options, off the target too.
	Check() []drivers.Problem
	// Claims are the hardware that the line has for itself, as sensors write it.
	Claims() []string
	// open opens the line with the level that is safe.
	open(ctx context.Context, h *Hardware, safe bool) (outputs.Line, error)
}

// Open opens the line of an output. It is an [outputs.Open].
func (h *Hardware) Open(ctx context.Context, spec outputs.Spec) (outputs.Line, error) {
	o, ok := spec.Line.(Options)
	if !ok {
		return nil, fmt.Errorf("output %s has no line: %T", spec.Stream.Name, spec.Line)
	}
	return o.open(ctx, h, spec.Safe)
}

// problem is a [drivers.Problem] with a formatted text.
func problem(key, format string, args ...any) drivers.Problem {
	return drivers.Problem{Key: key, Text: fmt.Sprintf(format, args...)}
}
