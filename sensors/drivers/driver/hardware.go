package driver

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
	"github.com/holdfast-iot/holdfast/sensors/drivers/modbus"
)

// Hardware is the machine that the sensors are connected to. It owns the buses and lines that
// sensors share. It is safe for concurrent use and must not be copied.
type Hardware struct {
	host.Host

	// I2C are the buses in use: each is opened with its first sensor and closed with its
	// last.
	I2C i2c.Buses
	// OneWire are the kernel's 1-wire buses.
	OneWire kernel.OneWireBuses
	// Modbus are the serial lines and hosts in use.
	Modbus modbus.Buses

	mu      sync.Mutex
	latches map[string]*Latch // of each PCF8574, by its claim; guarded by mu

	// OpenLine opens a line in place of the kernel, in tests; nil is the kernel.
	OpenLine func(gpio.Pin, gpio.Request) (gpio.Line, error)
}

// NewHardware returns the hardware of this machine. It has to be called before the program
// opens any file: periph searches for the GPIO chips here, and may close a file that is not
// its own while it does (see [gpio.InitPeriph]).
func NewHardware() *Hardware {
	gpio.InitPeriph()
	return &Hardware{Host: host.Host{Dev: "/dev", Sys: "/sys", Proc: "/proc"}}
}

// Open opens the device of a spec. It is a [sensors.Open].
func (h *Hardware) Open(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
	o, ok := spec.Options.(Options)
	if !ok {
		return nil, fmt.Errorf("sensor %s: no kind %q", spec.Name, spec.Kind)
	}
	return o.Open(ctx, h)
}

// A Latch has the byte that was last written to a PCF8574. The part does not return it: a read
// gives the levels of the pins (datasheet SCPS068K). The caller holds the lock of the part.
type Latch struct {
	Driven byte // bits of the pins that we use, as inputs or outputs
	Value  byte // the values that were written to them
}

// Latch returns the latch of a part, by its claim; all inputs and outputs of the part share
// it.
func (h *Hardware) Latch(part string) *Latch {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.latches == nil {
		h.latches = map[string]*Latch{}
	}
	if h.latches[part] == nil {
		h.latches[part] = &Latch{}
	}
	return h.latches[part]
}

// OpenPin opens a GPIO line as an input.
func (h *Hardware) OpenPin(pin gpio.Pin, want gpio.Request) (gpio.Line, error) {
	if h.OpenLine != nil {
		return h.OpenLine(pin, want)
	}
	return gpio.Open(&h.Host, pin, want)
}
