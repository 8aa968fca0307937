package drivers

import (
	"context"
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"periph.io/x/conn/v3/i2c"
)

// Hardware is the machine that the sensors hang on. It owns what they share:
// an I2C bus is opened with its first sensor and closed with its last.
type Hardware struct {
	host.Host

	buses buses
	w1    w1Buses

	// What tests put in place of the kernel; nil is the kernel.
	openLine func(gpio.Pin, gpio.Request) (gpio.Line, error)
	openBus  func(path string) (i2c.BusCloser, error)
}

// NewHardware is the machine that the program runs on. Call it early: periph
// looks at the GPIO chips here, and may close a file that is not its own while
// it does (see [gpio.InitPeriph]).
func NewHardware() *Hardware {
	gpio.InitPeriph()
	return &Hardware{Host: host.Host{Dev: "/dev", Sys: "/sys", Proc: "/proc"}}
}

// Open opens the device behind a spec. It is a [sensors.Open].
func (h *Hardware) Open(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
	o, ok := spec.Options.(Options)
	if !ok {
		return nil, fmt.Errorf("sensor %s: no kind %q", spec.Name, spec.Kind)
	}
	return o.Open(ctx, h)
}

// openPin opens a GPIO line as an input.
func (h *Hardware) openPin(pin gpio.Pin, want gpio.Request) (gpio.Line, error) {
	if h.openLine != nil {
		return h.openLine(pin, want)
	}
	return gpio.Open(&h.Host, pin, want)
}
