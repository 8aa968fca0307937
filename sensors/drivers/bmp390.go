package drivers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the BMP390 (datasheet BST-BMP390-DS002, 4.2). The BMP388 (BST-BMP388-DS001,
// 4.2) has the same ones.
const (
	bmp3Chip     = 0x00
	bmp3Status   = 0x03
	bmp3Data     = 0x04 // pressure, then temperature: 24 bits each, the low byte first
	bmp3Power    = 0x1b
	bmp3Sampling = 0x1c
	bmp3Filter   = 0x1f
	bmp3Calib    = 0x31 // NVM_PAR_T1 to NVM_PAR_P11, 21 bytes
	bmp3Command  = 0x7e
)

// Bits of the registers (4.3).
const (
	bmp3Ready   = 0x60 // of the status: drdy_press and drdy_temp
	bmp3Enabled = 0x03 // of the power: press_en and temp_en
	bmp3Mode    = 0x30 // of the power
	bmp3Forced  = 0x10 // forced mode: measure once, then sleep
)

// bmp390Options are the options of kind bmp390, Bosch's thermometers and barometers BMP390
// and BMP388 on I2C. The driver follows the datasheets; it was not tested with a real part.
type bmp390Options struct{ onI2C }

// The pin SDO low is 0x76, high 0x77.
func newBMP390() Options { return &bmp390Options{newOnI2C("a BMP390", 0x76, 0x77)} }

// Pace is the same as for a BMP280.
func (o *bmp390Options) Pace() time.Duration { return 30 * time.Second }

func (o *bmp390Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{temperature, pressure}
}

// Open checks that the part is a BMP390 or a BMP388, resets it and reads its calibration.
func (o *bmp390Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &bmp390Sensor{Part: p}
	if err := p.Measure(ctx, s.start); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// bmp390Sensor is one open part. It is in sleep mode between measurements.
type bmp390Sensor struct {
	*i2c.Part
	calibration bmp3Calibration
}

// start resets the part into sleep mode and reads its calibration. It also writes the
// oversampling and the filter: if the reset is lost, they may be those of another program.
func (s *bmp390Sensor) start() error {
	var chip [1]byte
	if err := s.ReadRegister(bmp3Chip, chip[:]); err != nil {
		return err
	}
	if _, known := bmp3Parts[chip[0]]; !known {
		return fmt.Errorf("this is not a BMP390 or BMP388: chip id 0x%02x, not 0x60 or 0x50", chip[0])
	}
	if err := s.Command(bmp3Command, 0xb6); err != nil { // softreset
		return err
	}
	if err := s.Pause(10 * time.Millisecond); err != nil { // table 2: start-up 2 ms
		return err
	}
	for _, w := range [][]byte{{bmp3Sampling, 0x00}, {bmp3Filter, 0x00}} { // one sample each; no filter
		if err := s.Command(w...); err != nil {
			return err
		}
	}
	var raw [21]byte
	if err := s.ReadRegister(bmp3Calib, raw[:]); err != nil {
		return err
	}
	if err := i2c.CheckAlive(raw[:]); err != nil {
		return err
	}
	s.calibration = bmp3CalibrationOf(raw)
	return nil
}

// bmp3Parts are the parts by their chip id in register 0x00. The same ids mean other parts in
// register 0xd0 (see boschParts).
var bmp3Parts = map[byte]string{0x50: "BMP388", 0x60: "BMP390"}

// BMP3Part returns the part with a chip id in its register 0x00; it is empty if unknown.
func BMP3Part(chip byte) string { return bmp3Parts[chip] }

// Next measures once, in about 8 ms, with one sample of each ("weather monitoring", 3.5):
// temperature in °C (±0.5 °C) and pressure in hPa (±0.5 hPa; table 2).
func (s *bmp390Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var celsius, hPa float64
	err := s.Measure(ctx, func() error {
		data, err := s.sample()
		if err == nil {
			celsius, hPa = s.calibration.climate(data)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return samples(s.Part,
		measured{temperature, celsius, limits{-40, 85}},
		measured{pressure, hPa, limits{300, 1250}})
}

// sample starts one measurement and returns the data registers.
func (s *bmp390Sensor) sample() (data [6]byte, err error) {
	if err := s.Command(bmp3Power, bmp3Forced|bmp3Enabled); err != nil {
		return data, err
	}
	// 3.9.2: 234 + 392 + 2020 + 163 + 2020 µs
	if err := s.Pause(6 * time.Millisecond); err != nil {
		return data, err
	}
	if err := s.awaitMeasured(); err != nil {
		return data, err
	}
	if err := s.ReadRegister(bmp3Data, data[:]); err != nil {
		return data, err
	}
	return data, bmp3Measured(data)
}

// awaitMeasured waits for the end of the measurement, and checks that it was made with our
// settings: the mode is then sleep again, and the status has unread data.
func (s *bmp390Sensor) awaitMeasured() error {
	var status [1]byte
	var power [2]byte // bmp3Power, bmp3Sampling
	for range 10 {
		if err := s.ReadRegister(bmp3Status, status[:]); err != nil {
			return err
		}
		if err := s.ReadRegister(bmp3Power, power[:]); err != nil {
			return err
		}
		if power[0]&^bmp3Mode != bmp3Enabled || power[1] != 0 {
			return fmt.Errorf("has lost its settings (0x%02x 0x%02x; has its power dipped?)", power[0], power[1])
		}
		if power[0]&bmp3Mode == 0 && status[0]&bmp3Ready == bmp3Ready {
			return nil
		}
		if err := s.Pause(2 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("still measuring after 26 ms (status 0x%02x, mode 0x%02x; is it still wired?)",
		status[0], power[0]&bmp3Mode)
}

// bmp3Measured returns an error for the data of a dead bus, and for the value of the registers
// before the first measurement (4.3.4, 4.3.5).
func bmp3Measured(data [6]byte) error {
	for at, name := range map[int]string{0: "pressure", 3: "temperature"} {
		value := [3]byte(data[at:])
		if err := i2c.CheckAlive(value[:]); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		if value == [3]byte{0x00, 0x00, 0x80} {
			return fmt.Errorf("%s was not measured (has the part's power dipped?)", name)
		}
	}
	return nil
}

// bmp3Calibration has the calibration of one part, which Bosch stored in it: t[0] to t[2] are
// PAR_T1 to PAR_T3, and p[0] to p[10] are PAR_P1 to PAR_P11 (appendix 8.4).
type bmp3Calibration struct {
	t [3]float64
	p [11]float64
}

// bmp3CalibrationOf decodes the registers from 0x31 on. Each coefficient is an integer of 8 or
// 16 bits times a power of two (8.4).
func bmp3CalibrationOf(raw [21]byte) (c bmp3Calibration) {
	unsigned := func(at int) float64 { return float64(binary.LittleEndian.Uint16(raw[at:])) }
	signed := func(at int) float64 { return float64(int16(binary.LittleEndian.Uint16(raw[at:]))) }
	short := func(at int) float64 { return float64(int8(raw[at])) }
	c.t = [3]float64{unsigned(0) * (1 << 8), unsigned(2) / (1 << 30), short(4) / (1 << 48)}
	c.p = [11]float64{
		(signed(5) - 1<<14) / (1 << 20), (signed(7) - 1<<14) / (1 << 29), short(9) / (1 << 32), short(10) / (1 << 37),
		unsigned(11) * (1 << 3), unsigned(13) / (1 << 6), short(15) / (1 << 8), short(16) / (1 << 15),
		signed(17) / (1 << 48), short(19) / (1 << 48), short(20) / (1 << 65),
	}
	return c
}

// climate computes a measurement from the data registers, in °C and hPa (8.5, 8.6). The
// temperature is a polynomial of its raw value; the pressure is one of its raw value and the
// temperature.
func (c *bmp3Calibration) climate(data [6]byte) (celsius, hPa float64) {
	raw24 := func(b []byte) float64 { return float64(int(b[2])<<16 | int(b[1])<<8 | int(b[0])) }
	x := raw24(data[3:]) - c.t[0]
	t := x*c.t[1] + x*x*c.t[2]
	raw := raw24(data[:3])
	offset := c.p[4] + t*(c.p[5]+t*(c.p[6]+t*c.p[7]))
	slope := c.p[0] + t*(c.p[1]+t*(c.p[2]+t*c.p[3]))
	square := c.p[8] + t*c.p[9]
	return t, (offset + raw*(slope+raw*(square+raw*c.p[10]))) / 100
}
