package sysfs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// hwmonOptions are the options of kind hwmon: any sensor that a driver of the kernel publishes in
// /sys/class/hwmon, from the SoC's temperature to an SHT31 with a dtoverlay.
type hwmonOptions struct {
	// the driver's name, as in /sys/class/hwmon/*/name
	Name string `yaml:"name"`
	// what to read: temp1, humidity1, in0, curr1, power1, fan1
	Inputs []string `yaml:"inputs"`
	// the end of the device's path, where two have the name: 1-0044, or 1-0044#2 for the
	// second one there
	Device string `yaml:"device"`
}

// newHwmon reads temp1, which most drivers have.
func newHwmon() driver.Options { return &hwmonOptions{Inputs: []string{"temp1"}} }

// hwmonType is a type of input in the kernel's Documentation/hwmon/sysfs-interface.rst. per is the
// number of the kernel's units in one unit of the quantity.
type hwmonType struct {
	sensors.Quantity
	per float64
}

// hwmonTypes are the types by the letters before the number of an input.
var hwmonTypes = map[string]hwmonType{
	"temp":     {driver.Temperature, 1000},                        // millidegrees Celsius
	"humidity": {driver.Humidity, 1000},                           // milli-percent
	"in":       {driver.Voltage, 1000},                            // millivolts
	"curr":     {driver.Current, 1000},                            // milliamperes
	"power":    {driver.Power, 1_000_000},                         // microwatts
	"fan":      {sensors.Quantity{Name: "speed", Unit: "rpm"}, 1}, // revolutions a minute
}

// hwmonInput matches inputs whose type is in hwmonTypes. Others, such as energy1, are not supported.
var hwmonInput = regexp.MustCompile(`^(temp|humidity|in|curr|power|fan)[0-9]{1,3}$`)

// IsHwmonInput reports whether kind hwmon can read an input.
func IsHwmonInput(name string) bool { return hwmonInput.MatchString(name) }

// hwmonTypeOf returns the type of an input that Check has accepted.
func hwmonTypeOf(input string) hwmonType {
	return hwmonTypes[strings.TrimRight(input, "0123456789")]
}

// Check does not look for the device, because a driver may be loaded later. Open does.
func (o *hwmonOptions) Check() (problems []driver.Problem) {
	if o.Name == "" || strings.ContainsAny(o.Name, "/ ") {
		problems = append(problems, driver.Problemf("name",
			"is missing or not a name: write one of cat /sys/class/hwmon/*/name, as in name: cpu_thermal"))
	}
	if len(o.Inputs) == 0 {
		problems = append(problems, driver.Problemf("inputs", "is empty: write e.g. [temp1]"))
	}
	seen := map[string]bool{}
	for _, input := range o.Inputs {
		switch {
		case !hwmonInput.MatchString(input):
			problems = append(problems, driver.Problemf("inputs",
				"%q is not a valid input: write temp1, humidity1, in0, curr1, power1 or fan1", input))
		case seen[input]:
			problems = append(problems, driver.Problemf("inputs", "%s is there twice", input))
		}
		seen[input] = true
	}
	if err := kernel.CheckOption(o.Device); err != nil {
		problems = append(problems, driver.Problemf("device", "%v", err))
	}
	return problems
}

// Pace is a minute: the temperatures that hwmon reads change slowly.
func (o *hwmonOptions) Pace() time.Duration { return 60 * time.Second }

// Quantities are named by what an input measures. If two inputs measure the same, the name of the
// input is added: temperature_temp2.
func (o *hwmonOptions) Quantities() []sensors.Quantity {
	alike := map[string]int{}
	for _, input := range o.Inputs {
		alike[hwmonTypeOf(input).Name]++
	}
	all := make([]sensors.Quantity, len(o.Inputs))
	for i, input := range o.Inputs {
		all[i] = hwmonTypeOf(input).Quantity
		// The name of the input is unique on the device, and stays the same after a restart.
		if alike[all[i].Name] > 1 {
			all[i].Name += "_" + input
		}
	}
	return all
}

// Open opens the folder of the device and keeps it open.
func (o *hwmonOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	d, err := kernel.Hwmon.Open(&h.Host, o.Name, o.Device)
	if err != nil {
		return nil, err
	}
	return &hwmon{Device: d, inputs: o.Inputs, quantities: o.Quantities()}, nil
}

// hwmon is one open device. quantities[i] is what inputs[i] measures.
type hwmon struct {
	*kernel.Device
	inputs     []string
	quantities []sensors.Quantity
}

// Next reads every input. If one fails, only its own quantity has an error.
func (s *hwmon) Next(ctx context.Context) ([]sensors.Sample, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return kernel.Gather(ctx, s.quantities, func(i int) (float64, error) { return s.read(s.inputs[i]) })
}

// read returns an input in the unit of its quantity. A fault (temp1_fault) means that the value is
// invalid. An alarm (temp1_max_alarm) is ignored: the value is valid but above a limit.
func (s *hwmon) read(input string) (float64, error) {
	path := s.Path(input)
	if fault, err := s.ReadLine(input + "_fault"); err == nil && fault != "0" {
		return 0, fmt.Errorf("%s: the kernel reports a fault (is it wired?)", path)
	}
	text, err := s.ReadLine(input + "_input")
	if errors.Is(err, syscall.ENODATA) {
		return 0, fmt.Errorf("%s: switched off (write 1 to %s_enable)", path, input)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s_input: %.40q is not a number", path, text)
	}
	t := hwmonTypeOf(input)
	return kernel.Possible(path, t.Quantity, float64(n)/t.per)
}
