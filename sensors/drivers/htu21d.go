package drivers

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

func newHTU21D() Options { return newHTU("an HTU21D") }
func newSi7021() Options { return newHTU("an Si7021") }

// newHTU has the one address of the parts of all three makers.
func newHTU(name string) Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C(name, 0x40),
		driver:  &driveHTU21D,
		celsius: limits{-40, 125},
	}
}

var driveHTU21D = func(p *i2c.Part) hygrometer { return htu21d{p} }

// htu21d is TE's HTU21D, Silicon Labs' Si7021 or Sensirion's SHT20, SHT21 or SHT25. All of them
// have the same commands.
type htu21d struct{ *i2c.Part }

// htuCRC is the initial value of the checksum. So the checksum of a word of zeros is zero.
const htuCRC = 0x00

// The longest measurement times: those of the SHT2x (its datasheet, table 7), the slowest of
// these parts. A part does not acknowledge while it measures.
const (
	htuLongestT  = 85 * time.Millisecond
	htuLongestRH = 29 * time.Millisecond
)

// start resets the part. In the user register it then sets the finest resolution, and switches
// the heater off, which a reset does not do. The reserved bits keep their values.
func (s htu21d) start() error {
	if err := s.Command(0xfe); err != nil {
		return err
	}
	if err := s.Pause(16 * time.Millisecond); err != nil { // at most 15 ms
		return err
	}
	var user [1]byte
	if err := s.ReadRegister(0xe7, user[:]); err != nil {
		return err
	}
	if err := i2c.CheckAlive(user[:]); err != nil {
		return err
	}
	// Bits 0 and 7 are the resolution, bit 2 is the heater (HTU21D, user register).
	if want := user[0] &^ 0x85; want != user[0] {
		return s.Command(0xe6, want)
	}
	return nil
}

// read measures once without clock stretching, in 120 ms: humidity in % (HTU21D ±2 %, Si7021
// ±3 %), temperature in °C (±0.3 °C, ±0.4 °C).
func (s htu21d) read() (rh, celsius float64, err error) {
	t, err := s.Query(htuLongestT, htuCRC, 1, 0xf3)
	if err != nil {
		return 0, 0, err
	}
	h, err := s.Query(htuLongestRH, htuCRC, 1, 0xf5)
	if err != nil {
		return 0, 0, err
	}
	rh, celsius = htuClimate(t[0], h[0])
	return rh, celsius, nil
}

// htuClimate converts raw values to % and °C. The two lowest bits are a status. A humidity a
// little below 0 or above 100 % is cut (Si7021 5.1.1).
func htuClimate(t, h uint16) (rh, celsius float64) {
	rh = float64(h&^3)/65536*125 - 6
	return min(max(rh, 0), 100), float64(t&^3)/65536*175.72 - 46.85
}
