package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/bmxx80"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Registers of the BME280 (datasheet BST-BME280-DS002, 5.3).
const (
	bmeCalib = 0x88 // dig_T1 to dig_P9, dig_H1
	bmeChip  = 0xd0 // id: 0x60
	bmeHum   = 0xe1 // dig_H2 to dig_H6
	bmeData  = 0xf7 // press, temp, hum: 8 bytes
)

// bmeOpts is the datasheet's "weather monitoring" (3.5.1): forced mode, each
// quantity sampled once, no filter; noise 3.3 Pa and 0.07 %RH, self-heating least.
var bmeOpts = bmxx80.Opts{Temperature: bmxx80.O1x, Pressure: bmxx80.O1x, Humidity: bmxx80.O1x}

// bme280Options are the options of kind bme280, Bosch's hygrometer,
// thermometer and barometer on I2C.
type bme280Options struct{ onI2C }

// The pin SDO low is 0x76, high 0x77.
func newBME280() Options { return &bme280Options{newOnI2C("a BME280", 0x76, 0x77)} }

func (o *bme280Options) Pace() time.Duration { return 30 * time.Second }

func (o *bme280Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{humidity, temperature, pressure}
}

// Open makes sure that the part is a BME280, reads its calibration and writes
// its settings.
func (o *bme280Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := h.openPart(o.I2C, o.Address)
	if err != nil {
		return nil, err
	}
	s := &bme280Sensor{part: p}
	p.watch = bmeWatch
	err = p.measure(ctx, func() (err error) {
		s.dev, err = bmxx80.NewI2C(p, p.addr, &bmeOpts)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

type bme280Sensor struct {
	*part
	dev *bmxx80.Dev
}

// Next measures once, in about 10 ms: humidity in % (±3 %), temperature in °C
// (±1 °C), pressure in hPa (±1 hPa; datasheet 1, tables 2 to 4).
func (s *bme280Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var env physic.Env
	if err := s.measure(ctx, func() error { return s.dev.Sense(&env) }); err != nil {
		return nil, err
	}
	return s.samples(env, climate{limits{0, 100}, limits{-40, 85}, limits{300, 1100}})
}

// bmeWatch refuses bytes that cannot be what they are read as. The part has no
// checksum, and periph computes a plausible climate from anything.
func bmeWatch(w, r []byte) error {
	if len(w) != 1 || len(r) == 0 {
		return nil
	}
	switch w[0] {
	case bmeChip:
		return bmeIs(r[0])
	case bmeCalib:
		return bmeDead(r)
	case bmeHum:
		return bmeSigned(r)
	case bmeData:
		return bmeMeasured(r)
	}
	return nil
}

func bmeIs(chip byte) error {
	switch chip {
	case 0x60:
		return nil
	case 0x56, 0x57, 0x58:
		return fmt.Errorf("this is a BMP280 (chip id 0x%02x), which has no humidity: use another kind than bme280", chip)
	case 0x61:
		return errors.New("this is a BME680 or BME688 (chip id 0x61): use another kind than bme280")
	case 0x55:
		return errors.New("this is a BMP180 (chip id 0x55), which has no humidity: use another kind than bme280")
	}
	return fmt.Errorf("this is no BME280: chip id 0x%02x, not 0x60", chip)
}

// bmeDead refuses what a bus without a part on it reads.
func bmeDead(r []byte) error {
	for _, b := range r {
		if b != r[0] || b != 0x00 && b != 0xff {
			return nil
		}
	}
	return fmt.Errorf("reads only 0x%02x (is it still wired?)", r[0])
}

// bmeSigned refuses a negative dig_H4 or dig_H5, of 12 bits in 0xE4 to 0xE6
// (4.2.2, table 16): periph reads them as positive and the humidity would be made up.
func bmeSigned(r []byte) error {
	if err := bmeDead(r); err != nil {
		return err
	}
	if len(r) > 5 && (r[3]|r[5])&0x80 != 0 {
		return fmt.Errorf("calibration of humidity % x is not understood", r)
	}
	return nil
}

// bmeMeasured refuses the values that stand for "not measured" after a reset
// (5.4.7 to 5.4.9): it has lost its settings, as by a dip of its power. That a
// real measurement may fall on one of these costs one reading in many thousands.
func bmeMeasured(r []byte) error {
	if err := bmeDead(r); err != nil {
		return err
	}
	if len(r) != 8 {
		return nil
	}
	skipped := [3]byte{0x80, 0x00, 0x00}
	switch {
	case [3]byte(r[0:3]) == skipped:
		return errors.New("pressure was not measured (has the part's power dipped?)")
	case [3]byte(r[3:6]) == skipped:
		return errors.New("temperature was not measured (has the part's power dipped?)")
	case [2]byte(r[6:8]) == [2]byte{0x80, 0x00}:
		return errors.New("humidity was not measured (has the part's power dipped?)")
	}
	return nil
}
