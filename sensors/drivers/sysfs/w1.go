package sysfs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// w1Options are the options of kind w1: a thermometer of the DS18B20's family on
// a 1-wire bus, read by the kernel (dtoverlay=w1-gpio in config.txt).
type w1Options struct {
	// the part's own number, as in ls /sys/bus/w1/devices: 28-0316a2797bff
	ID string `yaml:"id"`
}

// newW1 has no default id.
func newW1() driver.Options { return &w1Options{} }

// w1Master is the folder in which the kernel lists the parts, for messages.
const w1Master = "/sys/bus/w1/devices"

// id returns the id in lower case, as in sysfs. On some parts it is printed in capitals.
func (o *w1Options) id() string { return strings.ToLower(o.ID) }

// Check accepts only the families of thermometers.
func (o *w1Options) Check() []driver.Problem {
	if kernel.IsOneWireThermometer(o.id()) {
		return nil
	}
	return []driver.Problem{driver.Problemf("id", "%q is missing or is not the id of a thermometer: write one of ls %s "+
		"that begins with 10-, 22-, 28-, 3b- or 42-, as in id: 28-0316a2797bff", o.ID, w1Master)}
}

// Claims returns the part. Its bus is shared.
func (o *w1Options) Claims() []string { return []string{"w1 " + o.id()} }

// Pace is half a minute: reading twenty parts with parasitic power takes 15 s.
func (o *w1Options) Pace() time.Duration { return 30 * time.Second }

func (o *w1Options) Quantities() []sensors.Quantity { return []sensors.Quantity{driver.Temperature} }

// Open checks that the part is on its bus. It does not measure: that takes a second, and may have to
// wait for other parts.
func (o *w1Options) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	root := filepath.Join(h.Sys, "bus", "w1", "devices")
	dir := filepath.Join(root, o.id())
	if _, err := os.Stat(dir); err != nil {
		return nil, explainNoPart(root, o.id())
	}
	return &w1{id: o.id(), dir: dir, bus: h.OneWire.Bus(dir), file: host.ReadLine}, nil
}

// explainNoPart returns the error of a missing part, with the parts that are on the bus.
func explainNoPart(root, id string) error {
	all, _ := filepath.Glob(filepath.Join(root, "*-*")) // the pattern is fixed; masters have no hyphen
	switch masters, _ := filepath.Glob(filepath.Join(root, "w1_bus_master*")); {
	case len(all) > 0:
		return fmt.Errorf("w1 %s: is not on the bus, or its wire is off: %w (there are %s)",
			id, os.ErrNotExist, host.JoinNames(all))
	case len(masters) > 0:
		return fmt.Errorf("w1 %s: nothing is on the bus: %w (is it wired, with 4.7 kΩ from data to 3.3 V?)",
			id, os.ErrNotExist)
	}
	return fmt.Errorf("w1 %s: there is no 1-wire bus: %w (add dtoverlay=w1-gpio to config.txt)", id, os.ErrNotExist)
}

// w1 is one part. It keeps no file open: opening and reading a file makes the part measure.
type w1 struct {
	id  string
	dir string

	bus      *kernel.OneWireBus
	external bool // it has an external supply, so the bus is free while it measures
	file     func(path string) (string, error)

	last  float64 // the last good value
	known bool    // there was one
}

// Next measures once, in 95 to 750 ms by the part's resolution: °C, ±0.5 °C from
// -10 to 85 (DS18B20 datasheet). The kernel checks the CRC.
//
// For the power-on value only this measurement fails. The sensor stays open, because the check needs
// the last value.
func (s *w1) Next(ctx context.Context) ([]sensors.Sample, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err() // the read itself cannot be cancelled
	}
	r, err := s.readExclusive(ctx)
	if err != nil {
		return nil, fmt.Errorf("w1 %s: %w", s.id, err)
	}
	sample := sensors.Sample{Quantity: driver.Temperature.Name, Value: r.celsius}
	if s.isPowerOn(r) {
		sample.Value, sample.Err = 0, fmt.Errorf("w1 %s: 85 °C, which it says after losing power and before measuring "+
			"(is the cable too long, or the supply weak?)", s.id)
	} else {
		s.last, s.known = r.celsius, true
	}
	return []sensors.Sample{sample}, nil
}

// maxPowerOnStep is the largest step in °C to 85 °C that is accepted as a real change, for example of
// a boiler or a sauna.
const maxPowerOnStep = 5

// isPowerOn reports whether a reading is the power-on value of the register (exactly 85 °C) and not
// a measurement. Byte 6 of a DS18B20's scratchpad is 0x0C until the first conversion, and 0x10 minus
// the fraction after it (the kernel's W1_THERM_CHECK_RESULT relies on that). But clones always have
// 0x0C, and a DS18S20 may have it by chance. So if byte 6 is 0x0C, the last value decides: 85 °C is
// accepted after a value near it, and rejected otherwise. The cost: if something hot is read for the
// first time at exactly 85 °C, one true value is lost.
func (s *w1) isPowerOn(r w1Reading) bool {
	if r.celsius != 85 {
		return false
	}
	if r.scratchpad != nil && s.family() != kernel.FamilyDS18S20 && r.scratchpad[6] != 0x0C {
		return false
	}
	return !s.known || s.last < 85-maxPowerOnStep || s.last > 85+maxPowerOnStep
}

// A w1Reading is the result of one measurement.
type w1Reading struct {
	celsius    float64
	scratchpad []byte // 9 bytes, if known
}

// read reads w1_slave, or temperature if that does not exist. Both measure, but only the former has
// the scratchpad and the result of its CRC.
func (s *w1) read() (w1Reading, error) {
	text, err := s.file(filepath.Join(s.dir, "w1_slave"))
	if err == nil {
		return parseW1Slave(s.family(), text)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return w1Reading{}, err
	}
	if text, err = s.file(filepath.Join(s.dir, "temperature")); err != nil {
		return w1Reading{}, err
	}
	return parseW1Celsius(w1LimitsOf(s.family(), text), text)
}

// family returns the first two digits of the id.
func (s *w1) family() string { return s.id[:2] }

// errW1Silent is the error for an empty file: the kernel has tried five times.
var errW1Silent = errors.New("no answer, or one with a wrong checksum five times (is its wire off?)")

// w1Slave matches the two lines of w1_slave: the scratchpad with its CRC and whether it is right,
// and the scratchpad again with the temperature in m°C.
var w1Slave = regexp.MustCompile(`^((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n[0-9a-f ]*t=(-?[0-9]{1,7})$`)

// parseW1Slave parses w1_slave. It also checks the scratchpad, because the kernel's temperature is
// wrong if the part has not measured.
func parseW1Slave(family, text string) (w1Reading, error) {
	if text == "" {
		return w1Reading{}, errW1Silent
	}
	m := w1Slave.FindStringSubmatch(text)
	if m == nil {
		return w1Reading{}, fmt.Errorf("%.80q is not what w1_slave says", text)
	}
	if m[2] == "NO" {
		return w1Reading{}, errors.New("wrong checksum: what it measured was spoiled on the way (is the cable too " +
			"long, or the 4.7 kΩ resistor missing?)")
	}
	bytes, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
	if err != nil {
		return w1Reading{}, err
	}
	if strings.Trim(string(bytes), "\x00") == "" { // their CRC is valid
		return w1Reading{}, errors.New("nothing but zeros: the data line is held low")
	}
	switch {
	case isMAX31850(family, bytes):
		return max31850Reading(bytes)
	case family == kernel.FamilyDS18S20 && bytes[7] == 0: // the kernel reports 0 °C then
		return w1Reading{}, errors.New("nothing measured: its count per °C is 0 (is the supply weak?)")
	}
	r, err := parseW1Celsius(w1Limits, m[3])
	r.scratchpad = bytes
	return r, err
}

// limits are the lowest and highest temperature of a part, in °C.
type limits struct{ min, max float64 }

// w1Limits is the range of a DS18B20 and its family (datasheet). A value above it, 07FF (127.9375),
// means that the supply was too weak for the conversion.
var w1Limits = limits{-55, 125}

// parseW1Celsius parses a temperature in m°C.
func parseW1Celsius(l limits, text string) (w1Reading, error) {
	if text == "" {
		return w1Reading{}, errW1Silent
	}
	milli, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return w1Reading{}, fmt.Errorf("%.40q is not a temperature", text)
	}
	return w1Within(l, float64(milli)/1000)
}

// w1Within returns an error for a temperature out of range.
func w1Within(l limits, celsius float64) (w1Reading, error) {
	if celsius < l.min || celsius > l.max {
		return w1Reading{}, fmt.Errorf("%v °C is beyond what the part can measure (%v to %v)", celsius, l.min, l.max)
	}
	return w1Reading{celsius: celsius}, nil
}

func (s *w1) Close() error { return nil }

// readExclusive acquires the bus and measures. A part with an external supply does not need the bus:
// the kernel keeps it free for others during the conversion (w1_therm.c).
func (s *w1) readExclusive(ctx context.Context) (w1Reading, error) {
	if s.external {
		return s.read()
	}
	if err := s.bus.Acquire(ctx, s.id); err != nil {
		return w1Reading{}, err
	}
	defer s.bus.Release()
	r, err := s.read()
	if err == nil {
		supply, _ := s.file(filepath.Join(s.dir, "ext_power")) // since Linux 5.10
		s.external = supply == "1"
	}
	return r, err
}
