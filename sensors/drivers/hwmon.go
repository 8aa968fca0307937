package drivers

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// hwmonOptions are the options of kind hwmon: any sensor that the kernel
// measures (/sys/class/hwmon), from the SoC's temperature to an SHT31 that a
// dtoverlay set up.
type hwmonOptions struct {
	Name   string   `yaml:"name" doc:"the driver's name, as in /sys/class/hwmon/*/name"`
	Inputs []string `yaml:"inputs" doc:"what to read: temp1, humidity1, in0, curr1, power1, fan1"`
	Device string   `yaml:"device" doc:"the end of the device's path, where two have the name"`
}

func newHwmon() Options { return &hwmonOptions{Inputs: []string{"temp1"}} }

// hwmonType is a type of input, as the kernel's Documentation/hwmon/sysfs-interface.rst
// has it, with what the kernel counts in one of the quantity's unit.
type hwmonType struct {
	sensors.Quantity
	per float64
}

var hwmonTypes = map[string]hwmonType{
	"temp":     {temperature, 1000},                                                     // millidegrees Celsius
	"humidity": {humidity, 1000},                                                        // milli-percent
	"in":       {sensors.Quantity{Name: "voltage", Unit: "V", Class: "voltage"}, 1000},  // millivolts
	"curr":     {sensors.Quantity{Name: "current", Unit: "A", Class: "current"}, 1000},  // milliamperes
	"power":    {sensors.Quantity{Name: "power", Unit: "W", Class: "power"}, 1_000_000}, // microwatts
	"fan":      {sensors.Quantity{Name: "speed", Unit: "rpm"}, 1},                       // revolutions a minute
}

var hwmonInput = regexp.MustCompile(`^(temp|humidity|in|curr|power|fan)[0-9]{1,3}$`)

func hwmonTypeOf(input string) hwmonType {
	return hwmonTypes[strings.TrimRight(input, "0123456789")]
}

func (o *hwmonOptions) Check() (problems []Problem) {
	if o.Name == "" || strings.ContainsAny(o.Name, "/ ") {
		problems = append(problems, problem("name", "is missing or no name: write one of cat /sys/class/hwmon/*/name, as in name: cpu_thermal"))
	}
	if len(o.Inputs) == 0 {
		problems = append(problems, problem("inputs", "is empty: write e.g. [temp1]"))
	}
	seen := map[string]bool{}
	for _, input := range o.Inputs {
		switch {
		case !hwmonInput.MatchString(input):
			problems = append(problems, problem("inputs", "%q is no input: write temp1, humidity1, in0, curr1, power1 or fan1", input))
		case seen[input]:
			problems = append(problems, problem("inputs", "%s is there twice", input))
		}
		seen[input] = true
	}
	return problems
}

func (o *hwmonOptions) Pace() time.Duration { return 60 * time.Second }

// Quantities name an input by what it measures, and by itself where two measure
// the like: temperature_temp2.
func (o *hwmonOptions) Quantities() []sensors.Quantity {
	alike := map[string]int{}
	for _, input := range o.Inputs {
		alike[hwmonTypeOf(input).Name]++
	}
	all := make([]sensors.Quantity, len(o.Inputs))
	for i, input := range o.Inputs {
		all[i] = hwmonTypeOf(input).Quantity
		if alike[all[i].Name] > 1 {
			all[i].Name += "_" + input
		}
	}
	return all
}

func (o *hwmonOptions) Open(_ context.Context, h *Hardware) (sensors.Sensor, error) {
	dir, err := o.find(filepath.Join(h.Sys, "class", "hwmon"))
	if err != nil {
		return nil, err
	}
	return &hwmon{dir: dir, inputs: o.Inputs, quantities: o.Quantities()}, nil
}

// find looks for the device by its name: the numbers of hwmon0, hwmon1 change
// from boot to boot.
func (o *hwmonOptions) find(root string) (dir string, err error) {
	dirs, _ := filepath.Glob(filepath.Join(root, "hwmon*")) // the pattern is fixed
	var found, names []string
	for _, dir := range dirs {
		name, err := readLine(filepath.Join(dir, "name"))
		if err != nil {
			continue // gone since, or none of ours to read
		}
		names = append(names, name)
		if name == o.Name && strings.HasSuffix(devicePath(dir), o.Device) {
			found = append(found, dir)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("hwmon %s: two have this name: add device: with the end of one of their paths, %s or %s",
			o.Name, devicePath(found[0]), devicePath(found[1]))
	case len(names) == 0:
		return "", fmt.Errorf("hwmon %s: nothing in %s: %w", o.Name, root, os.ErrNotExist)
	}
	return "", fmt.Errorf("hwmon %s: %w (there are %s)", o.with(), os.ErrNotExist, strings.Join(names, ", "))
}

func (o *hwmonOptions) with() string {
	if o.Device == "" {
		return o.Name
	}
	return o.Name + " at " + o.Device
}

// devicePath is where the device hangs, the same at each boot: .../i2c-1/1-0044.
func devicePath(dir string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return dir // a virtual device
	}
	return path
}

type hwmon struct {
	dir        string
	inputs     []string
	quantities []sensors.Quantity
}

// Next reads each input once. It fails as a whole only when all of them do: then
// the device has gone, or has come back as another hwmonN.
func (s *hwmon) Next(context.Context) ([]sensors.Sample, error) {
	samples := make([]sensors.Sample, len(s.inputs))
	var first error
	failed := 0
	for i, input := range s.inputs {
		value, err := s.read(input)
		samples[i] = sensors.Sample{Quantity: s.quantities[i].Name, Value: value, Err: err}
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	if failed == len(s.inputs) {
		return nil, first
	}
	return samples, nil
}

// read is an input in its quantity's unit.
func (s *hwmon) read(input string) (float64, error) {
	path := filepath.Join(s.dir, input)
	if fault, err := readLine(path + "_fault"); err == nil && fault != "0" {
		return 0, fmt.Errorf("%s: the kernel reports a fault (is it wired?)", path)
	}
	text, err := readLine(path + "_input")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s_input: %q is no number", path, text)
	}
	return float64(n) / hwmonTypeOf(input).per, nil
}

func (s *hwmon) Close() error { return nil }

func readLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
