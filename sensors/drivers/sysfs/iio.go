package sysfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// iioOptions are the options of kind iio: any part that a driver of the kernel publishes by
// Industrial I/O in /sys/bus/iio, such as a BME280 with dtoverlay=i2c-sensor.
type iioOptions struct {
	// the part: as in /sys/bus/iio/devices/*/name, or in the name of the I2C device that it is
	Name string `yaml:"name"`
	// what to read: in_temp, in_voltage0 (the names of the files, without _raw or _input);
	// without it, all that a known part measures
	Inputs []string `yaml:"inputs"`
	// the end of the device's path, where two have the name: 1-0076, or 1-0076#2 for the
	// second one there
	Device string `yaml:"device"`
}

// newIIO has no default name.
func newIIO() driver.Options { return &iioOptions{} }

// iioParts are the inputs of known parts by name: those with a dtoverlay in Raspberry Pi OS, and
// similar ones.
var iioParts = func() map[string][]string {
	const temp, hum, press, lux = "in_temp", "in_humidityrelative", "in_pressure", "in_illuminance"
	parts := map[string][]string{}
	for names, inputs := range map[string][]string{
		"bme280 bme680": {hum, temp, press},
		"dht11 am2315 hdc100x hdc1000 hdc1008 hdc1010 hdc1050 hdc1080": {hum, temp},
		"hdc3020 hdc3021 hdc3022 hts221 htu21 si7020 th06":             {hum, temp},
		"bmp085 bmp180 bmp280 bmp380 bmp580":                           {temp, press},
		"ms5607 ms5611 ms5637 ms5803 ms5805 ms5837":                    {temp, press},
		"scd30 scd40 scd41 scd4x":                                      {"in_concentration_co2", hum, temp},
		"bh1750 opt3001":                                               {lux},
		"mlx90614":                                                     {"in_temp_object"},
		"tmp117 max31855 max31856":                                     {temp},
	} {
		for name := range strings.FieldsSeq(names) {
			parts[name] = inputs
		}
	}
	return parts
}()

// inputs returns the inputs to read: those of the configuration, or else those of a known part.
func (o *iioOptions) inputs() []string {
	if len(o.Inputs) > 0 {
		return o.Inputs
	}
	return iioParts[o.Name]
}

// Check accepts missing inputs only for a known part. An input that is given twice is an error,
// because both would be the same stream.
func (o *iioOptions) Check() (problems []driver.Problem) {
	if o.Name == "" || strings.ContainsAny(o.Name, "/ ") {
		problems = append(problems, driver.Problemf("name",
			"is missing or not a name: write one of cat /sys/bus/iio/devices/*/name, as in name: bme280"))
	} else if len(o.inputs()) == 0 {
		problems = append(problems, driver.Problemf("inputs", "is missing, and what %q measures is not known here: "+
			"write the names of ls /sys/bus/iio/devices/iio:device*/in_* without _raw or _input, as in [in_voltage0]", o.Name))
	}
	seen := map[string]bool{}
	for _, input := range o.Inputs {
		c, err := parseIIOChannel(input)
		switch {
		case err != nil:
			problems = append(problems, driver.Problemf("inputs", "%v", err))
		case seen[c.input]:
			problems = append(problems, driver.Problemf("inputs", "%s is there twice", input))
		}
		seen[c.input] = true
	}
	if err := kernel.CheckOption(o.Device); err != nil {
		problems = append(problems, driver.Problemf("device", "%v", err))
	}
	return problems
}

// Pace is half a minute, as for the kinds of package drivers that read such parts.
func (o *iioOptions) Pace() time.Duration { return 30 * time.Second }

// channels returns the parsed inputs. Check must have found nothing wrong.
func (o *iioOptions) channels() []iioChannel {
	var all []iioChannel
	for _, input := range o.inputs() {
		if c, err := parseIIOChannel(input); err == nil {
			if o.Name == "dht11" && c.Name == driver.Temperature.Name {
				c.decode = dhtMilliCelsius
			}
			all = append(all, c)
		}
	}
	return all
}

// Quantities are named by what an input measures. If two inputs measure the same, their number or
// modifier is added: voltage0, temperature_object.
func (o *iioOptions) Quantities() []sensors.Quantity {
	channels := o.channels()
	alike := map[string]int{}
	for _, c := range channels {
		alike[c.Name]++
	}
	all := make([]sensors.Quantity, len(channels))
	for i, c := range channels {
		all[i] = c.Quantity
		if alike[c.Name] > 1 {
			all[i].Name += c.which
		}
	}
	return all
}

// Open opens the folder of the device and keeps it open.
func (o *iioOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	return o.open(h)
}

// open is Open with the concrete type, which the kinds dht and max31865 embed.
func (o *iioOptions) open(h *driver.Hardware) (*iio, error) {
	d, err := kernel.IIO.Open(&h.Host, o.Name, o.Device)
	if err != nil {
		return nil, err
	}
	return &iio{Device: d, channels: o.channels(), quantities: o.Quantities(), file: d.ReadLine}, nil
}

// iio is one open device. quantities[i] is what channels[i] measures.
type iio struct {
	*kernel.Device
	channels   []iioChannel
	quantities []sensors.Quantity
	// reads a file of the device; tests replace it
	file func(name string) (string, error)
}

// Next reads every channel. If one fails, only its own quantity has an error.
func (s *iio) Next(ctx context.Context) ([]sensors.Sample, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return kernel.Gather(ctx, s.quantities, func(i int) (float64, error) { return s.read(s.channels[i]) })
}

// read returns a channel in the unit of its quantity: the processed value of the driver (_input), or
// else the raw value with offset and scale.
func (s *iio) read(c iioChannel) (float64, error) {
	value, err := s.number(c.input + "_input")
	step := 0.0
	if errors.Is(err, os.ErrNotExist) {
		value, step, err = s.scaled(c)
	}
	if errors.Is(err, os.ErrNotExist) {
		return 0, s.noChannel(c, err)
	}
	if err != nil {
		return 0, err
	}
	return c.value(value, step)
}

// scaled returns (raw + offset) * scale. A channel may share offset and scale with others. If they
// are missing, the raw value already has the unit. step is the scale: the resolution of the value.
func (s *iio) scaled(c iioChannel) (value, step float64, err error) {
	raw, err := s.number(c.input + "_raw")
	if err != nil {
		return 0, 0, err
	}
	offset, err := s.shared(c, "offset", 0)
	if err != nil {
		return 0, 0, err
	}
	step, err = s.shared(c, "scale", 1)
	return (raw + offset) * step, step, err
}

// shared returns an attribute of a channel, or else of all channels of its type, of all inputs, or
// of the device. It returns none if the driver has no such attribute.
func (s *iio) shared(c iioChannel, attribute string, none float64) (float64, error) {
	// The most specific owner counts.
	for _, owner := range c.owners {
		value, err := s.number(owner + attribute)
		if !errors.Is(err, os.ErrNotExist) {
			return value, err
		}
	}
	return none, nil
}

// number reads a file with one number. If the file does not exist, the error wraps os.ErrNotExist.
func (s *iio) number(file string) (float64, error) {
	text, err := s.file(file)
	if err != nil {
		return 0, err
	}
	value, err := kernel.Decimal(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.Path(file), err)
	}
	return value, nil
}

// noChannel returns the error of a missing channel, with the channels that the device has.
func (s *iio) noChannel(c iioChannel, err error) error {
	var there []string
	for _, kind := range []string{"_input", "_raw"} {
		for _, f := range s.Files("in_*" + kind) {
			there = append(there, strings.TrimSuffix(f, kind))
		}
	}
	if len(there) == 0 {
		return err // the device itself was removed
	}
	return fmt.Errorf("iio %s: no %s (there are %s)", s.Name, c.input, strings.Join(there, ", "))
}
