package drivers

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

func newHTU21D() Options { return newHTU("an HTU21D") }
func newSi7021() Options { return newHTU("an Si7021") }

// newHTU has the one address that the parts of all three makers have.
func newHTU(name string) Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C(name, 0x40),
		driver:  &driveHTU21D,
		celsius: limits{-40, 125},
	}
}

var driveHTU21D = func(p *i2c.Part) hygrometer { return htu21d{p} }

// htu21d is TE's HTU21D, Silicon Labs' Si7021 or Sensirion's SHT20, SHT21 or
// SHT25: one set of commands from three makers.
type htu21d struct{ *i2c.Part }

// htuCRC is where the checksum starts. That of a word of zeros is then zero too.
const htuCRC = 0x00

// The longest measurements of the three are the SHT2x's (its datasheet, table 7);
// until then the part does not acknowledge.
const (
	htuLongestT  = 85 * time.Millisecond
	htuLongestRH = 29 * time.Millisecond
)

// start resets the part, which leaves the heater as it was, and sets the finest
// resolution and the heater off in the user register. Its other bits are to stay
// as they are.
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
	// Bit 0 and 7 are the resolution, bit 2 the heater (HTU21D, user register).
	if want := user[0] &^ 0x85; want != user[0] {
		return s.Command(0xe6, want)
	}
	return nil
}

// read measures once without holding the clock line low, in 120 ms: humidity in %
// (HTU21D ±2 %, Si7021 ±3 %), temperature in °C (±0.3 °C, ±0.4 °C).
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

// htuClimate converts without the two lowest bits, which are a status. Humidity
// may compute to a little below 0 or above 100 %, and is cut there (Si7021 5.1.1).
func htuClimate(t, h uint16) (rh, celsius float64) {
	rh = float64(h&^3)/65536*125 - 6
	return min(max(rh, 0), 100), float64(t&^3)/65536*175.72 - 46.85
}
