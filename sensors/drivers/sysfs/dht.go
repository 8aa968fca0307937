package sysfs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// dhtOptions are the options of kind dht: Aosong's DHT11, DHT22 and AM2302 on one
// GPIO line, read by the kernel (dtoverlay=dht11,gpiopin=4 in config.txt).
type dhtOptions struct {
	// of the IIO device, as in /sys/bus/iio/devices/*/name
	Name string `yaml:"name"`
	// the end of the device's path, where there are two: dht11@11
	Device string `yaml:"device"`
}

// newDHT has the name that the kernel gives the device of the overlay.
func newDHT() driver.Options { return &dhtOptions{Name: "dht11"} }

// iio are the options of the kind that reads the values: this one adds what is known of
// the part and its wire.
func (o *dhtOptions) iio() *iioOptions {
	return &iioOptions{Name: o.Name, Device: o.Device, Inputs: iioParts["dht11"]}
}

// Check is that of kind iio.
func (o *dhtOptions) Check() []driver.Problem { return o.iio().Check() }

// Pace leaves the part a rest: it needs 2 s between two reads, and a measurement may take
// three of them.
func (o *dhtOptions) Pace() time.Duration { return 30 * time.Second }

// Quantities are humidity and temperature, always both: they come in one transmission.
func (o *dhtOptions) Quantities() []sensors.Quantity { return o.iio().Quantities() }

// Open finds the device. The name of the device tree's node may be another than dht11,
// and the value below 0 °C has to be corrected all the same.
func (o *dhtOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	s, err := o.iio().open(h)
	if err != nil {
		return nil, fmt.Errorf("%w (is dtoverlay=dht11,gpiopin=... in config.txt?)", err)
	}
	for i := range s.channels {
		if s.channels[i].Name == driver.Temperature.Name { // whatever the device tree calls the part
			s.channels[i].decode = dhtMilliCelsius
		}
	}
	return &dht{s}, nil
}

// dhtMilliCelsius corrects what the kernel makes of a clone of the DHT22 below
// 0 °C. The part has a sign and a magnitude in 16 bits, of 0.1 °C; clones send
// two's complement, and the kernel then reads -0.3 °C, 0xfffd, as -3276.5 °C.
// No part measures so cold: such a value can mean nothing else.
func dhtMilliCelsius(kernels float64) float64 {
	if kernels <= -273_150 {
		return -3_276_800 - kernels
	}
	return kernels
}

// dht is one open part.
type dht struct{ *iio }

// The part is read in pulses of 26 and 70 µs, which the kernel times by
// interrupts. One that comes late spoils the checksum, so that one read in
// several fails on a sound part with a sound cable: a measurement is up to
// dhtTries reads, with the pause that the part needs between two (AM2302
// datasheet: 2 s). At most 7 s.
const (
	dhtTries = 3
	dhtPause = 2 * time.Second
)

// Next measures: humidity in % and temperature in °C, both of one transmission,
// which the kernel keeps for 2 s.
func (s *dht) Next(ctx context.Context) ([]sensors.Sample, error) {
	for try := 1; ; try++ {
		samples, err := s.transmission(ctx)
		if err == nil || !dhtLost(err) {
			return samples, err
		}
		if try == dhtTries {
			return nil, fmt.Errorf("%w, %d times (is it wired, with 4.7 to 10 kΩ from data to 3.3 V?)", err, try)
		}
		if err := host.Sleep(ctx, dhtPause); err != nil {
			return nil, err
		}
	}
}

// errSilent is how a line that is held low reads: its checksum, 0, is right.
var errSilent = errors.New("dht: nothing but zeros (is the data line held low?)")

// transmission reads both values. Half of them is an error: the other half would be of
// another moment.
func (s *dht) transmission(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := s.iio.Next(ctx)
	if err != nil {
		return nil, err
	}
	for _, sample := range samples {
		if sample.Err != nil {
			return nil, sample.Err // half a transmission is none
		}
	}
	// The kernel's checksum of five zeros is right, and it takes them for a measurement.
	if hum, temp := samples[0].Value, samples[1].Value; hum == 0 && temp == 0 {
		return nil, errSilent
	} else if temp < -40 || temp > 80 { // DHT22 datasheet, the widest
		return nil, fmt.Errorf("dht: temperature %v °C is beyond what the part can measure (-40 to 80)", temp)
	}
	return samples, nil
}

// dhtLost reports whether a transmission was lost on the way: spoiled bits, or
// too few edges.
func dhtLost(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, errSilent)
}
