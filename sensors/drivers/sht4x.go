package drivers

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The letter after the model, as in SHT40-B, determines the address.
func newSHT4x() Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C("an SHT4x", 0x44, 0x45, 0x46),
		driver:  &driveSHT4x,
		celsius: limits{-40, 125},
	}
}

var driveSHT4x = func(p *i2c.Part) hygrometer { return sht4x{p} }

// sht4x is Sensirion's SHT40, SHT41 or SHT45.
type sht4x struct{ *i2c.Part }

const sht4xCRC = 0xff // initial value of the checksum (4.4)

// start resets the part and reads its serial number: this fails for another part at the
// address (4.5, 4.7).
func (s sht4x) start() error {
	if err := s.Command(0x94); err != nil {
		return err
	}
	if err := s.Pause(2 * time.Millisecond); err != nil { // system timing: 1 ms
		return err
	}
	_, err := s.Query(10*time.Millisecond, sht4xCRC, 2, 0x89)
	return err
}

// read measures once with high precision: humidity in % (SHT40 ±1.8 %, SHT45
// ±1 %, table 1), temperature in °C (±0.2 °C, ±0.1 °C, table 2).
func (s sht4x) read() (rh, celsius float64, err error) {
	w, err := s.Query(9*time.Millisecond, sht4xCRC, 2, 0xfd) // system timing: 8.3 ms
	if err != nil {
		return 0, 0, err
	}
	rh, celsius = sht4xClimate(w[0], w[1])
	return rh, celsius, nil
}

// sht4xClimate converts raw values to % and °C (4.6). Near 0 and 100 % the error of the part
// can give values out of range: they are cropped, as 4.6 says.
func sht4xClimate(t, h uint16) (rh, celsius float64) {
	return min(max(float64(h)/65535*125-6, 0), 100), float64(t)/65535*175 - 45
}
