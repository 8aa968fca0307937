package sysfs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// thermalOptions are the options of kind thermal: a thermal zone of the kernel, such as the SoC.
type thermalOptions struct {
	// the zone's type, as in /sys/class/thermal/thermal_zone*/type
	Type string `yaml:"type"`
}

// newThermal has the type of the SoC's zone on a Pi.
func newThermal() driver.Options { return &thermalOptions{Type: "cpu-thermal"} }

// Check does not look for the zone; Open does.
func (o *thermalOptions) Check() []driver.Problem {
	if o.Type != "" && !strings.Contains(o.Type, "/") {
		return nil
	}
	return []driver.Problem{driver.Problemf("type", "is empty or not a type: write one of "+
		"cat /sys/class/thermal/thermal_zone*/type, as in type: cpu-thermal")}
}

// Pace is a minute: a heat sink warms slowly.
func (o *thermalOptions) Pace() time.Duration { return 60 * time.Second }

func (o *thermalOptions) Quantities() []sensors.Quantity {
	return []sensors.Quantity{driver.Temperature}
}

// Open opens the folder of the zone and keeps it open. It returns an error if two zones have the
// type: no stable property distinguishes them.
func (o *thermalOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	d, err := kernel.Thermal.Open(&h.Host, o.Type, "")
	if err != nil {
		return nil, err
	}
	return &thermal{d}, nil
}

// thermal is one open zone.
type thermal struct{ *kernel.Device }

// Next reads the temperature of the zone in °C; the kernel has m°C (ABI sysfs-class-thermal).
func (s *thermal) Next(ctx context.Context) ([]sensors.Sample, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return kernel.Gather(ctx, []sensors.Quantity{driver.Temperature},
		func(int) (float64, error) { return zoneTemperature(s.Device) })
}

// zoneTemperature reads the temperature of a zone in °C, also for kind pi. It returns an error for a
// temperature that silicon does not survive.
func zoneTemperature(d *kernel.Device) (float64, error) {
	text, err := d.ReadLine("temp")
	if err != nil {
		return 0, err
	}
	celsius, err := kernel.Thousandths(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", d.Path("temp"), err)
	}
	if celsius < -60 || celsius > 200 {
		return 0, fmt.Errorf("%s: %v °C is not a temperature of a running board", d.Path(""), celsius)
	}
	return celsius, nil
}
