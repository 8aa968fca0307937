package drivers

import (
	"context"
	"fmt"

	"periph.io/x/conn/v3/i2c"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Hardware is the machine that the sensors hang on. It owns what they share:
// an I2C bus is opened with its first sensor and closed with its last.
type Hardware struct {
	Dev  string // where the device files are, "/dev"
	Sys  string // where sysfs is mounted, "/sys"
	Proc string // where procfs is mounted, "/proc"

	buses buses
	known knownHardware
	w1    w1Buses

	// What tests put in place of the kernel; nil is the kernel.
	openLine func(Pin, request) (line, error)
	openBus  func(path string) (i2c.BusCloser, error)
}

// NewHardware is the machine that the program runs on. Call it early: periph
// looks at the GPIO chips here, and may close a file that is not its own while
// it does (see [initPeriph]).
func NewHardware() *Hardware {
	initPeriph()
	return &Hardware{Dev: "/dev", Sys: "/sys", Proc: "/proc"}
}

// Open opens the device behind a spec. It is a [sensors.Open].
func (h *Hardware) Open(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
	o, ok := spec.Options.(Options)
	if !ok {
		return nil, fmt.Errorf("sensor %s: no kind %q", spec.Name, spec.Kind)
	}
	return o.Open(ctx, h)
}
