package sysfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// ds2438Options are the options of kind ds2438: Maxim's battery monitor on a 1-wire bus, which is
// used in humidity, light and pressure sensors with a voltage output. The kernel's w1_ds2438 reads
// it (Documentation/w1/slaves/w1_ds2438.rst). It was not tested with a real part.
type ds2438Options struct {
	// the part's own number, as in ls /sys/bus/w1/devices: 26-000001a2b3c4
	ID string `yaml:"id"`
	// the resistor that the current flows through, in ohms; without it, there is no current
	Shunt float64 `yaml:"shunt"`
}

// newDS2438 has no default id.
func newDS2438() driver.Options { return &ds2438Options{} }

// id returns the id in lower case, as in sysfs.
func (o *ds2438Options) id() string { return strings.ToLower(o.ID) }

// Check accepts only ids of the DS2438's family.
func (o *ds2438Options) Check() (problems []driver.Problem) {
	if !kernel.IsDS2438(o.id()) {
		problems = append(problems, driver.Problemf("id", "%q is missing or is not the id of a DS2438: write one of "+
			"ls %s that begins with 26-, as in id: 26-000001a2b3c4", o.ID, w1Master))
	}
	if o.Shunt < 0 || o.Shunt > 1000 {
		problems = append(problems, driver.Problemf("shunt", "%v is not between 0 and 1000 ohms", o.Shunt))
	}
	return problems
}

// Claims returns the part. Its bus is shared.
func (o *ds2438Options) Claims() []string { return []string{"w1 " + o.id()} }

// Pace is half a minute, as for the other parts on the bus.
func (o *ds2438Options) Pace() time.Duration { return 30 * time.Second }

// A ds2438Value is a value of the part: its file in sysfs, the unit per count, and its limits.
type ds2438Value struct {
	sensors.Quantity
	file     string
	per      float64
	min, max float64
}

// ds2438Values are the values in the order of reading. The supply comes first, because it is never 0
// unless the wire is held low. The limits are from the datasheet (19-4673): VDD 2.4 to 10 V, the
// converter 10.23 V.
var ds2438Values = []ds2438Value{
	{sensors.Quantity{Name: "supply", Unit: "V", Class: "voltage"}, "vdd", 0.01, 2.4, 10.23},
	{driver.Voltage, "vad", 0.01, 0, 10.23},
	{driver.Temperature, "temperature", 1. / 256, -55, 125},
}

// values returns the values to read.
func (o *ds2438Options) values() []ds2438Value {
	if o.Shunt == 0 {
		return ds2438Values
	}
	// I = register / (4096 R); the register has ±10 bits of 0.2441 mV.
	current := ds2438Value{driver.Current, "iad", 1 / (4096 * o.Shunt), -0.25 / o.Shunt, 0.25 / o.Shunt}
	return append(ds2438Values[:len(ds2438Values):len(ds2438Values)], current)
}

// Quantities returns the supply VDD, the voltage at VAD, the temperature, and the current if there
// is a shunt.
func (o *ds2438Options) Quantities() (all []sensors.Quantity) {
	for _, v := range o.values() {
		all = append(all, v.Quantity)
	}
	return all
}

// Open checks that the part is on its bus and that the kernel's driver is loaded.
func (o *ds2438Options) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	root := filepath.Join(h.Sys, "bus", "w1", "devices")
	dir := filepath.Join(root, o.id())
	if _, err := os.Stat(dir); err != nil {
		return nil, explainNoPart(root, o.id())
	}
	if _, err := os.Stat(filepath.Join(dir, "vdd")); err != nil {
		return nil, fmt.Errorf("w1 %s: the kernel does not read it: %w (sudo modprobe w1_ds2438)", o.id(), err)
	}
	return &ds2438{id: o.id(), dir: dir, bus: h.OneWire.Bus(dir), values: o.values()}, nil
}

// ds2438 is one open part. It keeps no file open: opening and reading a file makes the part measure.
type ds2438 struct {
	id, dir string
	bus     *kernel.OneWireBus
	values  []ds2438Value
}

// Next measures each value once, in some 50 ms: voltages in V (±25 mV, 0.01 V), temperature
// in °C (±2 °C, 0.03 °C), current in A. The kernel checks the CRC.
func (s *ds2438) Next(ctx context.Context) ([]sensors.Sample, error) {
	if err := s.bus.Acquire(ctx, s.id); err != nil {
		return nil, fmt.Errorf("w1 %s: %w", s.id, err)
	}
	defer s.bus.Release()
	samples := make([]sensors.Sample, len(s.values))
	for i, v := range s.values {
		value, err := s.read(v)
		if err != nil && (i == 0 || errors.Is(err, os.ErrNotExist)) {
			return nil, fmt.Errorf("w1 %s: %w", s.id, err) // the other values are not valid then
		}
		samples[i] = sensors.Sample{Quantity: v.Name, Value: value, Err: err}
	}
	return samples, ctx.Err()
}

// read reads one file. If the data line is held low, all values read 0 with a valid checksum; the
// limit of the supply detects this.
func (s *ds2438) read(v ds2438Value) (float64, error) {
	path := filepath.Join(s.dir, v.file)
	text, err := host.ReadLine(path)
	if err != nil {
		return 0, err
	}
	count, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q is not a number", path, text)
	}
	value := host.RoundToStep(float64(count)*v.per, v.per)
	if value < v.min || value > v.max {
		return 0, fmt.Errorf("%s %v %s is beyond what the part can measure (%v to %v; is it wired?)",
			v.Name, value, v.Unit, v.min, v.max)
	}
	return value, nil
}

func (s *ds2438) Close() error { return nil }
