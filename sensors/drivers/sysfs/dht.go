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

// newDHT has the name of the device of the overlay dht11.
func newDHT() driver.Options { return &dhtOptions{Name: "dht11"} }

// iio returns the options of kind iio, which reads the values. Kind dht adds what is specific to
// the part: its decoding, retries and limits.
func (o *dhtOptions) iio() *iioOptions {
	return &iioOptions{Name: o.Name, Device: o.Device, Inputs: iioParts["dht11"]}
}

// Check is the same as for kind iio.
func (o *dhtOptions) Check() []driver.Problem { return o.iio().Check() }

// Pace is half a minute: the part needs 2 s between two reads, and a measurement may need three
// reads.
func (o *dhtOptions) Pace() time.Duration { return 30 * time.Second }

// Quantities returns humidity and temperature, which come in one transmission.
func (o *dhtOptions) Quantities() []sensors.Quantity { return o.iio().Quantities() }

// Open finds the device. It sets the correction of temperatures below 0 °C here, because the node
// in the device tree may have another name than dht11.
func (o *dhtOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	s, err := o.iio().open(h)
	if err != nil {
		return nil, fmt.Errorf("%w (is dtoverlay=dht11,gpiopin=... in config.txt?)", err)
	}
	for i := range s.channels {
		if s.channels[i].Name == driver.Temperature.Name { // for any name of the device
			s.channels[i].decode = dhtMilliCelsius
		}
	}
	return &dht{s}, nil
}

// dhtMilliCelsius corrects the kernel's value of a DHT22 clone below 0 °C. The DHT22 sends a sign
// and a magnitude of 0.1 °C in 16 bits. Clones send two's complement, and the kernel then reads
// -0.3 °C, 0xfffd, as -3276.5 °C. Values below absolute zero can only come from this.
func dhtMilliCelsius(kernels float64) float64 {
	if kernels <= -273_150 {
		return -3_276_800 - kernels
	}
	return kernels
}

// dht is one open part.
type dht struct{ *iio }

// The part sends pulses of 26 and 70 µs, which the kernel measures by interrupts. If an interrupt
// is late, the checksum is wrong, so some reads fail even if part and cable are good. A
// measurement therefore has up to dhtTries reads, with a pause that the part needs (AM2302
// datasheet: 2 s). It takes at most 7 s.
const (
	dhtTries = 3
	dhtPause = 2 * time.Second
)

// Next measures humidity in % and temperature in °C. Both are from one transmission, which the
// kernel caches for 2 s.
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

// errSilent is the error of a line that is held low: it reads zeros with a valid checksum of 0.
var errSilent = errors.New("dht: nothing but zeros (is the data line held low?)")

// transmission reads both values. It fails if one of them fails, because a retry would read it from
// another transmission.
func (s *dht) transmission(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := s.iio.Next(ctx)
	if err != nil {
		return nil, err
	}
	for _, sample := range samples {
		if sample.Err != nil {
			return nil, sample.Err
		}
	}
	// The kernel accepts five zero bytes, because their checksum is 0.
	if hum, temp := samples[0].Value, samples[1].Value; hum == 0 && temp == 0 {
		return nil, errSilent
	} else if temp < -40 || temp > 80 { // DHT22 datasheet: the widest range of these parts
		return nil, fmt.Errorf("dht: temperature %v °C is beyond what the part can measure (-40 to 80)", temp)
	}
	return samples, nil
}

// dhtLost reports whether a transmission was lost: a wrong checksum, or too few edges.
func dhtLost(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, errSilent)
}
