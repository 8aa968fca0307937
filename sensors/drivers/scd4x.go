package drivers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

const scd4xAddress = 0x62 // the only one

// scd4xCommand is a command of the SCD4x (datasheet 1.3, 3.4). While the part measures, it
// accepts only commands that read or stop.
type scd4xCommand uint16

const (
	scd4xStart    scd4xCommand = 0x21b1 // a measurement every 5 s
	scd4xStop     scd4xCommand = 0x3f86
	scd4xWake     scd4xCommand = 0x36f6 // for an SCD41 that was powered down; it does not acknowledge it
	scd4xReady    scd4xCommand = 0xe4b8
	scd4xRead     scd4xCommand = 0xec05
	scd4xReload   scd4xCommand = 0x3646 // load the stored settings
	scd4xSerial   scd4xCommand = 0x3682
	scd4xAltitude scd4xCommand = 0x2427
	scd4xPressure scd4xCommand = 0xe000
)

// scd4xOptions are the options of kind scd4x, Sensirion's SCD40 and SCD41 on I2C, which measure
// CO2, temperature and humidity.
type scd4xOptions struct {
	onI2C
	// above the sea in metres, 0 to 3000: thin air holds less CO2; without it and pressure,
	// what the part keeps (0 m as it is sold)
	Altitude *int `yaml:"altitude"`
	// of the air in hPa, 700 to 1200: in place of altitude
	Pressure *int `yaml:"pressure"`
}

// newSCD4x has no default altitude: the part uses its stored one.
func newSCD4x() Options { return &scd4xOptions{onI2C: newOnI2C("an SCD4x", scd4xAddress)} }

// Check applies the bounds of the datasheet (set_sensor_altitude, set_ambient_pressure).
func (o *scd4xOptions) Check() []Problem {
	problems := o.onI2C.Check()
	if a := o.Altitude; a != nil && (*a < 0 || *a > 3000) {
		problems = append(problems, problem("altitude", "%d is not between 0 and 3000 metres", *a))
	}
	if p := o.Pressure; p != nil && (*p < 700 || *p > 1200) {
		problems = append(problems, problem("pressure", "%d is not between 700 and 1200 hPa", *p))
	}
	if o.Altitude != nil && o.Pressure != nil {
		problems = append(problems, problem("", "takes altitude or pressure, not both"))
	}
	return problems
}

// Pace skips five of six measurements: the part makes one every 5 s, but the air of a room
// takes minutes to change.
func (o *scd4xOptions) Pace() time.Duration { return 30 * time.Second }

// Quantities returns all three, which come from one measurement.
func (o *scd4xOptions) Quantities() []sensors.Quantity {
	return []sensors.Quantity{driver.CarbonDioxide, humidity, temperature}
}

// Open checks that the part is an SCD4x and starts its periodic measurement. The first value is
// ready 5 s later.
func (o *scd4xOptions) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &scd4xSensor{Part: p}
	if err := p.Measure(ctx, func() error { return s.start(o) }); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// scd4xSensor is one open part, which measures periodically.
type scd4xSensor struct {
	*i2c.Part
	last []uint16 // the measurement that was read last
}

// start wakes the part, stops a measurement that may be running with unknown settings, and
// starts it again with the settings that are stored in the part.
func (s *scd4xSensor) start(o *scd4xOptions) error {
	// A part that was powered down does not acknowledge it.
	s.TryCommand(byte(scd4xWake>>8), byte(scd4xWake&0xff))
	if err := s.Pause(30 * time.Millisecond); err != nil {
		return err
	}
	if err := s.send(scd4xStop, 500*time.Millisecond); err != nil {
		return err
	}
	if err := s.send(scd4xReload, 30*time.Millisecond); err != nil {
		return err
	}
	if _, err := s.ask(scd4xSerial, 3); err != nil { // valid checksums show that it is an SCD4x
		return err
	}
	if err := s.compensate(o); err != nil {
		return err
	}
	return s.send(scd4xStart, 0)
}

// compensate sets the altitude or the pressure, which the part needs to compute ppm: thin air
// has fewer molecules in a volume. Neither is stored in the part's EEPROM, which allows only
// 2000 writes.
func (s *scd4xSensor) compensate(o *scd4xOptions) error {
	switch {
	case o.Altitude != nil:
		return s.set(scd4xAltitude, uint16(*o.Altitude))
	case o.Pressure != nil:
		return s.set(scd4xPressure, uint16(*o.Pressure))
	}
	return nil
}

// Next waits for a measurement that has not been read: CO2 in ppm (±50 ppm and
// 5 %), temperature in °C (±0.8 °C) and humidity in % (±6 %), at most 5 s old.
func (s *scd4xSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var words []uint16
	err := s.Measure(ctx, func() (err error) {
		if err = s.await(); err != nil {
			return err
		}
		words, err = s.readNew()
		return err
	})
	if err != nil {
		return nil, err
	}
	co2, celsius, percent := scd4xDecode([3]uint16(words))
	return samples(s.Part,
		measured{driver.CarbonDioxide, co2, limits{1, 40000}},
		measured{humidity, percent, limits{0, 100}},
		measured{temperature, celsius, limits{-10, 60}})
}

// readNew reads a measurement, which clears it in the part. It returns an error if all 48 bits
// are the same as before and the part still says that a measurement is ready: then the part
// does not measure any more.
func (s *scd4xSensor) readNew() ([]uint16, error) {
	words, err := s.ask(scd4xRead, 3)
	if err != nil {
		return nil, err
	}
	// Equal bits can be chance in a sealed box: then no measurement is ready after the read.
	if slices.Equal(words, s.last) {
		ready, err := s.ready()
		if err != nil {
			return nil, err
		}
		if ready {
			return nil, errors.New("repeats its last measurement and makes no other")
		}
	}
	s.last = words
	return words, nil
}

// ready reports whether there is a measurement that has not been read.
func (s *scd4xSensor) ready() (bool, error) {
	status, err := s.ask(scd4xReady, 1)
	return err == nil && status[0]&0x07ff != 0, err // the lower 11 bits
}

// await waits until a measurement is ready, for at most one interval of 5 s and another second.
func (s *scd4xSensor) await() error {
	const longest = 6 * time.Second
	for until := time.Now().Add(longest); ; {
		if ready, err := s.ready(); ready || err != nil {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("no measurement in %v, and it makes one every 5s (has its power dipped?)", longest)
		}
		if err := s.Pause(500 * time.Millisecond); err != nil {
			return err
		}
	}
}

// send sends a command and waits until the part has executed it.
func (s *scd4xSensor) send(c scd4xCommand, takes time.Duration) error {
	if err := s.Command(byte(c>>8), byte(c)); err != nil {
		return err
	}
	return s.Pause(takes)
}

// set sends a command with a word.
func (s *scd4xSensor) set(c scd4xCommand, word uint16) error {
	w := append([]byte{byte(c >> 8), byte(c)}, i2c.EncodeWords(0xff, word)...)
	if err := s.Command(w...); err != nil {
		return err
	}
	return s.Pause(time.Millisecond)
}

// ask sends a command and reads n words of its answer, each with a checksum.
func (s *scd4xSensor) ask(c scd4xCommand, n int) ([]uint16, error) {
	return s.Part.Query(time.Millisecond, 0xff, n, byte(c>>8), byte(c))
}

// scd4xDecode returns CO2 in ppm, T = -45 + 175*w/65535 °C and RH = 100*w/65535 %
// (read_measurement).
func scd4xDecode(words [3]uint16) (co2, celsius, percent float64) {
	return float64(words[0]), -45 + 175*float64(words[1])/65535, 100 * float64(words[2]) / 65535
}
