package sysfs

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// An iioType is a type of channel in the kernel's ABI/testing/sysfs-bus-iio: what it measures, the
// factor from the kernel's unit to that of the quantity, and the resolution to round to.
type iioType struct {
	sensors.Quantity
	per    float64
	finest float64
}

// iioTypes are the types by the word after in_.
var iioTypes = map[string]iioType{
	"temp":              {driver.Temperature, 1e-3, 1e-3}, // milli degrees Celsius
	"humidityrelative":  {driver.Humidity, 1e-3, 1e-2},    // milli percent
	"pressure":          {driver.Pressure, 10, 1e-2},      // kilopascal
	"illuminance":       {driver.Illuminance, 1, 1e-2},
	"concentration_co2": {driver.CarbonDioxide, 1e4, 1}, // percent
	"concentration":     {sensors.Quantity{Name: "concentration", Unit: "%"}, 1, 1e-6},
	"voltage":           {driver.Voltage, 1e-3, 1e-6}, // millivolts
	"current":           {driver.Current, 1e-3, 1e-6}, // milliamps
	"power":             {driver.Power, 1e-3, 1e-6},   // milliwatts
	"resistance":        {sensors.Quantity{Name: "resistance", Unit: "Ω"}, 1, 1e-2},
}

// An iioChannel is one input of an IIO device: in_voltage0, in_temp_object,
// in_voltage0-voltage1.
type iioChannel struct {
	iioType
	input  string
	which  string                        // distinguishes it from others of its type: 0, _object
	owners []string                      // prefixes of files that may have its offset and scale, most specific first
	decode func(kernels float64) float64 // corrects the kernel's value; nil: no correction
}

// iioInput matches an input: its type, its number, the input that a differential one is measured
// against, and its modifiers.
var iioInput = regexp.MustCompile(`^in_(concentration_co2|[a-z]+)([0-9]*)(-[a-z]+[0-9]+)?((?:_[a-z][a-z0-9]*)*)$`)

// parseIIOChannel parses the name of a channel. For the name of a file, such as in_temp_raw, the
// error says what to write.
func parseIIOChannel(input string) (iioChannel, error) {
	for _, attribute := range []string{"_raw", "_input", "_scale", "_offset"} {
		if name, cut := strings.CutSuffix(input, attribute); cut {
			return iioChannel{}, fmt.Errorf("%q is a file: write %s", input, name)
		}
	}
	m := iioInput.FindStringSubmatch(input)
	if m == nil {
		return iioChannel{}, fmt.Errorf("%q is not a valid input: write e.g. in_temp, in_voltage0", input)
	}
	kind, number, other, modifier := m[1], m[2], m[3], m[4]
	t, ok := iioTypes[kind]
	if !ok || other != "" && strings.TrimRight(other, "0123456789") != "-"+kind {
		return iioChannel{}, fmt.Errorf("%q: known are %s", input,
			strings.Join(slices.Sorted(maps.Keys(iioTypes)), ", "))
	}
	all := "in_" + kind // in_voltage_scale, in_voltage-voltage_scale: all of a type
	if other != "" {
		all += "-" + kind
	}
	bare, _, _ := strings.Cut(kind, "_")
	return iioChannel{iioType: t, input: input, which: number + other + modifier,
		owners: []string{input + "_", all + modifier + "_", all + "_", "in_" + bare + "_", "in_", ""}}, nil
}

// value converts a value of the kernel to the unit of the quantity. It returns an error if the
// value is not possible. It rounds to the resolution of the type, or to the step of the channel if
// that is finer (0: unknown): a 24-bit converter has steps of 0.3 µV and less. Climate values are
// always rounded to the resolution of the type, because their further digits are noise.
func (c iioChannel) value(kernels, step float64) (float64, error) {
	if c.decode != nil {
		kernels = c.decode(kernels)
	}
	x, err := kernel.Possible(c.input, c.Quantity, kernels*c.per)
	if err != nil {
		return 0, err
	}
	finest := c.finest
	climate := c.Name == driver.Temperature.Name || c.Name == driver.Humidity.Name || c.Name == driver.CarbonDioxide.Name
	if step = math.Abs(step) * c.per; step > 0 && !climate {
		finest = min(finest, step)
	}
	return host.RoundToStep(x, finest), nil
}
