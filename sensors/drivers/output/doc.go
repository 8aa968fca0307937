// Package output opens the lines that outputs switch: GPIO lines, pins of port expanders on I2C,
// programs, and simulated ones.
//
// A line has its safe level from the moment it becomes an output: the hardware sets both in one
// step, or the driver sets the level before the direction. While it is open, a line only has levels
// that were ordered.
//
// # Concurrency
//
// [Hardware] is safe for concurrent use. Only one goroutine at a time may use a line; package i2c
// serialises lines that share a part.
package output

import (
	"context"
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// Hardware is the hardware of the machine. It is safe for concurrent use, and must not be copied.
type Hardware struct {
	*drivers.Hardware // shared with the sensors, which use the same buses

	// Tests set openGPIO to replace the kernel; nil is the kernel.
	openGPIO func(pin gpio.Pin, high bool) (gpioLine, error)
}

// NewHardware returns the hardware that the sensors use, too.
func NewHardware(h *drivers.Hardware) *Hardware {
	return &Hardware{Hardware: h}
}

// NewStandalone returns the hardware for a program that opens only outputs: these do not need
// periph, whose setup is slow on a small board.
func NewStandalone() *Hardware {
	return NewHardware(&drivers.Hardware{Host: host.Host{Dev: "/dev", Sys: "/sys", Proc: "/proc"}})
}

// Options are the options of one line.
type Options interface {
	// Check returns what is wrong with the options, without looking at the hardware.
	Check() []drivers.Problem
	// Claims returns the hardware that the line needs for itself, in the same form as sensors.
	Claims() []string
	// open opens the line with its safe level.
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

// problem returns a [drivers.Problem] with a formatted text.
func problem(key, format string, args ...any) drivers.Problem {
	return drivers.Problem{Key: key, Text: fmt.Sprintf(format, args...)}
}
