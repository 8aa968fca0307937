package drivers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the BME280 (datasheet BST-BME280-DS002, 5.3). The BMP280
// (BST-BMP280-DS001, 4.2) has the same ones, except those of the humidity.
const (
	bmxCalib    = 0x88 // dig_T1 to dig_P9, dig_H1
	bmxChip     = 0xd0
	bmxReset    = 0xe0
	bmxCalibHum = 0xe1 // dig_H2 to dig_H6
	bmxCtrlHum  = 0xf2
	bmxStatus   = 0xf3
	bmxCtrl     = 0xf4
	bmxConfig   = 0xf5
	bmxData     = 0xf7 // press, temp, hum
)

// bmx280 is a BME280, or a BMP280, which has the same thermometer and barometer. It is in
// sleep mode between measurements and gets its settings with each one, so a power dip spoils
// at most the measurement that is running.
type bmx280 struct {
	*i2c.Part
	humid       bool
	calibration bmxCalibration
}

// openBMX280 opens a part and checks that it is of the kind: a BMP280 that is read as a BME280
// would report a humidity of 0 %.
func openBMX280(ctx context.Context, h *Hardware, o *onI2C, kind string) (*bmx280, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &bmx280{Part: p, humid: kind == "bme280"}
	if err := p.Measure(ctx, func() error { return s.start(kind) }); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// start resets the part into sleep mode without a filter. It reads the calibration after the
// part has copied it into its registers (5.4.2, 5.4.4).
func (s *bmx280) start(kind string) error {
	var chip [1]byte
	if err := s.ReadRegister(bmxChip, chip[:]); err != nil {
		return err
	}
	if err := checkBosch(kind, chip[0]); err != nil {
		return err
	}
	if err := s.Command(bmxReset, 0xb6); err != nil {
		return err
	}
	if err := s.Pause(3 * time.Millisecond); err != nil { // table 1: 2 ms
		return err
	}
	if err := s.awaitIdle(); err != nil {
		return err
	}
	if err := s.Command(bmxConfig, 0x00); err != nil { // filter off, even if the reset was lost
		return err
	}
	return s.calibrate()
}

// calibrate reads the calibration registers: 0x88 to 0xA1 and 0xE1 to 0xE7 of a BME280, 0x88 to
// 0x9F of a BMP280. They do not change, so it reads them once.
func (s *bmx280) calibrate() error {
	tp, h := make([]byte, 24), []byte(nil)
	if s.humid {
		tp, h = make([]byte, 26), make([]byte, 7)
		if err := s.registerAlive(bmxCalibHum, h); err != nil {
			return err
		}
	}
	if err := s.registerAlive(bmxCalib, tp); err != nil {
		return err
	}
	s.calibration = bmxCalibrationOf(tp, h)
	return nil
}

// read measures once, with the settings of "weather monitoring" in the datasheet (3.5.1): one
// sample of each quantity, no filter. The noise is 3.3 Pa and 0.07 %RH, and the part heats
// itself least.
func (s *bmx280) read(ctx context.Context) (c bmxClimate, err error) {
	err = s.Measure(ctx, func() error {
		data, err := s.sample()
		if err == nil {
			c = s.calibration.climate(data)
		}
		return err
	})
	return c, err
}

// sample starts one measurement with one sample of each quantity (0x25: temperature and
// pressure once, forced mode; 5.4.3, 5.4.5) and returns the data registers. It writes
// ctrl_hum first, which takes effect with the next write of ctrl_meas.
func (s *bmx280) sample() ([]byte, error) {
	force, data := []byte{bmxCtrl, 0x25}, make([]byte, 6)
	if s.humid {
		force, data = []byte{bmxCtrlHum, 0x01, bmxCtrl, 0x25}, make([]byte, 8)
	}
	if err := s.Command(force...); err != nil {
		return nil, err
	}
	if err := s.Pause(10 * time.Millisecond); err != nil { // 9.1: at most 9.3 ms; of the BMP280 6.4 ms
		return nil, err
	}
	if err := s.awaitMeasured(); err != nil {
		return nil, err
	}
	if err := s.registerAlive(bmxData, data); err != nil {
		return nil, err
	}
	return data, bmxMeasured(data)
}

// awaitMeasured waits for the end of the measurement: the mode is then sleep again (3.3.3). It
// checks our settings, because a part that did not receive the command still has the data of
// the measurement before.
func (s *bmx280) awaitMeasured() error {
	const forced, pressTemp, hum = 0x03, 0x24, 0x01
	regs := make([]byte, 3) // bmxCtrlHum, bmxStatus, bmxCtrl
	for range 10 {
		if err := s.ReadRegister(bmxCtrlHum, regs); err != nil {
			return err
		}
		if regs[1]&0x09 == 0 && regs[2]&forced == 0 {
			if regs[2] == pressTemp && (!s.humid || regs[0]&0x07 == hum) {
				return nil
			}
			return fmt.Errorf("has lost its settings (0x%02x 0x%02x; has its power dipped?)", regs[0], regs[2])
		}
		if err := s.Pause(2 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("still measuring after 30 ms (status 0x%02x, mode 0x%02x; is it still wired?)",
		regs[1], regs[2]&forced)
}

// awaitIdle waits until the part neither measures nor copies its calibration (5.4.4).
func (s *bmx280) awaitIdle() error {
	var status [1]byte
	for range 10 {
		if err := s.ReadRegister(bmxStatus, status[:]); err != nil {
			return err
		}
		if status[0]&0x09 == 0 {
			return nil
		}
		if err := s.Pause(2 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("still busy after 20 ms (status 0x%02x; is something pulling the bus?)", status[0])
}

// registerAlive reads registers, and returns an error if all are 0x00 or 0xff, as on a dead
// bus. The part has no checksum, and such data would give plausible values.
func (s *bmx280) registerAlive(reg byte, r []byte) error {
	if err := s.ReadRegister(reg, r); err != nil {
		return err
	}
	return i2c.CheckAlive(r)
}

// bmxMeasured returns an error for the values that the registers have after a reset: 0x80000
// (5.4.7, 5.4.8). Only both together mean "not measured": one alone is possible, it is about
// 26.46 °C. It also rejects a converter at either end of its range, which the formulas would
// turn into 0 or 100 %.
func bmxMeasured(data []byte) error {
	skipped := [3]byte{0x80, 0x00, 0x00}
	if [3]byte(data[0:3]) == skipped && [3]byte(data[3:6]) == skipped {
		return errors.New("nothing was measured (has the part's power dipped?)")
	}
	for i, name := range []string{"pressure", "temperature", "humidity"} {
		if at := 3 * i; at < len(data) {
			if err := i2c.CheckAlive(data[at : at+2]); err != nil {
				return fmt.Errorf("%s %w", name, err)
			}
		}
	}
	return nil
}

// boschParts are Bosch's parts by the chip id in register 0xd0, with the kind that reads each;
// an empty kind: none does. Datasheets: BST-BME280-DS002 5.4.1, BST-BMP280-DS001 4.3.1,
// BST-BMP180-DS000 4.3, BST-BME680-DS001 5.3.1.
var boschParts = map[byte]struct{ part, kind string }{
	0x55: {"BMP085 or BMP180", ""},
	0x56: {"BMP280 (sample)", "bmp280"},
	0x57: {"BMP280 (sample)", "bmp280"},
	0x58: {"BMP280", "bmp280"},
	0x60: {"BME280", "bme280"},
	0x61: {"BME680 or BME688", ""},
}

// BoschPart returns the part with a chip id, and the kind that reads it; both may be empty.
func BoschPart(chip byte) (part, kind string) {
	return boschParts[chip].part, boschParts[chip].kind
}

// checkBosch returns an error if the chip id is not one of the kind. The error names the part
// that was found.
func checkBosch(kind string, chip byte) error {
	switch found := boschParts[chip]; {
	case found.kind == kind:
		return nil
	case found.kind != "":
		return fmt.Errorf("this is a %s (chip id 0x%02x): write kind: %s", found.part, chip, found.kind)
	case found.part != "":
		return fmt.Errorf("this is a %s (chip id 0x%02x), which kind %s does not read", found.part, chip, kind)
	}
	want := map[string]byte{"bme280": 0x60, "bmp280": 0x58}[kind]
	return fmt.Errorf("this is not a %s: chip id 0x%02x, not 0x%02x", strings.ToUpper(kind), chip, want)
}
