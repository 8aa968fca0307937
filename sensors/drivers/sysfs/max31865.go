package sysfs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// max31865Options are the options of kind max31865: Maxim's converter for a platinum
// thermometer (Pt100, Pt1000) on SPI, read by the kernel (drivers/iio/temperature/max31865.c).
//
// The kernel's own temperature, which kind iio would read, is the count times 0.03125 °C. Even for
// the one combination that it supports, a Pt100 with 400 ohms, it is 256 °C too high. So this kind
// reads the count and computes the temperature from the resistance. It was not tested with a real
// part.
type max31865Options struct {
	// of the IIO device, as in /sys/bus/iio/devices/*/name
	Name string `yaml:"name"`
	// the end of the device's path, where two have the name: spi0.1
	Device string `yaml:"device"`
	// the thermometer's resistance at 0 °C in ohms: 100 of a Pt100, 1000 of a Pt1000
	Nominal float64 `yaml:"nominal"`
	// the reference resistor on the board in ohms: mostly 430 beside a Pt100, 4300 beside a
	// Pt1000, and printed on it
	Reference float64 `yaml:"reference"`
}

// newMAX31865 has the values of the most common board, for a Pt100.
func newMAX31865() driver.Options {
	return &max31865Options{Name: "max31865", Nominal: 100, Reference: 430}
}

// iio returns the options of kind iio, which opens the device.
func (o *max31865Options) iio() *iioOptions {
	return &iioOptions{Name: o.Name, Device: o.Device, Inputs: []string{"in_temp"}}
}

// Check also checks the reference: the part can measure only a resistance below it. At 850 °C the
// thermometer has 3.9 times its nominal resistance; with 1.4 times, it measures up to about 100 °C.
func (o *max31865Options) Check() []driver.Problem {
	problems := o.iio().Check()
	if o.Nominal < 10 || o.Nominal > 10000 {
		problems = append(problems, driver.Problemf("nominal", "%v is not between 10 and 10000 ohms", o.Nominal))
	}
	if o.Reference < 1.4*o.Nominal || o.Reference > 100*o.Nominal {
		problems = append(problems, driver.Problemf("reference", "%v ohms do not fit a thermometer of %v: it takes 4 "+
			"times as much, as in nominal: 100, reference: 430", o.Reference, o.Nominal))
	}
	return problems
}

// Pace is half a minute, as for other thermometers.
func (o *max31865Options) Pace() time.Duration { return 30 * time.Second }

func (o *max31865Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{driver.Temperature}
}

// Open opens the folder of the device and keeps it open.
func (o *max31865Options) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	s, err := o.iio().open(h)
	if err != nil {
		return nil, err
	}
	return &max31865{s, o}, nil
}

// max31865 is one open part.
type max31865 struct {
	*iio
	options *max31865Options
}

// Next measures once, in 75 ms: °C, ±0.5 °C plus the error of the thermometer.
func (s *max31865) Next(ctx context.Context) ([]sensors.Sample, error) {
	if err := errors.Join(ctx.Err(), s.Check()); err != nil {
		return nil, err
	}
	count, err := s.number("in_temp_raw")
	if err != nil {
		return nil, err
	}
	// The kernel clears the faults before each measurement. Older kernels do not have the file.
	fault, err := s.number("fault_ovuv")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	celsius, err := s.options.celsius(count, fault != 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path("in_temp_raw"), err)
	}
	return []sensors.Sample{{Quantity: driver.Temperature.Name, Value: celsius}}, nil
}

// celsius converts a count of 15 bits, the ratio of resistance and reference (19-6478, RTD
// resistance registers). The maximum is an open thermometer; 0 is a short circuit or a dead bus.
func (o *max31865Options) celsius(count float64, fault bool) (float64, error) {
	switch {
	case fault:
		return 0, errors.New("the part reports a voltage beyond its supply at the thermometer: is it wired?")
	case count >= 32767:
		return 0, errors.New("the thermometer is open: is it wired, and is the reference resistor right?")
	case count <= 0:
		return 0, errors.New("the thermometer has a short circuit, or the part does not answer")
	}
	t := platinumCelsius(count / 32768 * o.Reference / o.Nominal)
	if !(t >= -200 && t <= 850) { // nor NaN
		return 0, fmt.Errorf("%.1f °C is beyond what platinum measures (-200 to 850): are nominal and reference right?", t)
	}
	// One count is 0.03 °C or more.
	return host.Round(t, 2), nil
}

// platinumCelsius returns the temperature of a platinum thermometer. ratio is its resistance over
// that at 0 °C (IEC 60751): R/R0 = 1 + At + Bt² from 0 °C on, plus C(t-100)t³ below 0 °C. Below 0 °C
// it starts with the solution of the first formula and makes four steps of Newton's method.
func platinumCelsius(ratio float64) float64 {
	const a, b, c = 3.9083e-3, -5.775e-7, -4.183e-12
	t := (-a + math.Sqrt(a*a-4*b*(1-ratio))) / (2 * b)
	for range 4 {
		if ratio >= 1 {
			break
		}
		f := 1 + a*t + b*t*t + c*(t-100)*t*t*t - ratio
		t -= f / (a + 2*b*t + c*(4*t*t*t-300*t*t))
	}
	return t
}
