package drivers

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The pins ADDR and ADDR1 set the address (7.5.2).
func newHDC302x() Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C("an HDC302x", 0x44, 0x45, 0x46, 0x47),
		driver:  &driveHDC302x,
		celsius: limits{-40, 125},
	}
}

var driveHDC302x = func(p *i2c.Part) hygrometer {
	return hdc302x{sht3x{p, 20 * time.Millisecond}} // table 7-4: typically 12.5 ms
}

// hdc302x is Texas Instruments' HDC3020, HDC3021 or HDC3022. It has the commands, the checksum
// and the conversion of an SHT3x. Humidity in % (±0.5 %), temperature in °C (±0.1 °C; 6.5).
type hdc302x struct{ sht3x }

// start checks the manufacturer id. It then discards one measurement, because the first one
// after a reset can read as zeros.
func (s hdc302x) start() error {
	if err := s.sht3x.start(); err != nil {
		return err
	}
	id, err := s.Query(time.Millisecond, sht3xCRC, 1, 0x37, 0x81)
	if err != nil {
		return err
	}
	if id[0] != 0x3000 {
		return fmt.Errorf("this is not an HDC302x: manufacturer id 0x%04x, not 0x3000", id[0])
	}
	_, _, err = s.read()
	return err
}
