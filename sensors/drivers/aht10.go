package drivers

import (
	"errors"
	"fmt"
	"time"
)

// The pin ADR low is 0x38, high 0x39.
func newAHT10() Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C("an AHT10", 0x38, 0x39),
		speak:   func(p *part) hygrometer { return aht10{p} },
		celsius: limits{-40, 85},
	}
}

// aht10 is Aosong's AHT10, the AHT20's forerunner: it calibrates by another
// command and sends no checksum.
type aht10 struct{ *part }

// start resets the part and has it load its calibration (5.4).
func (a aht10) start() error {
	if err := a.command(0xba); err != nil {
		return err
	}
	if err := a.pause(20 * time.Millisecond); err != nil { // 5.5: at most
		return err
	}
	if err := a.command(0xe1, 0x08, 0x00); err != nil {
		return err
	}
	_, err := a.idle(10*time.Millisecond, 1)
	return err
}

// read takes 80 ms: humidity in % (±2 %, table 1), temperature in °C (±0.3 °C,
// table 2).
func (a aht10) read() (rh, celsius float64, err error) {
	if err := a.command(0xac, 0x33, 0x00); err != nil {
		return 0, 0, err
	}
	r, err := a.idle(80*time.Millisecond, 6) // 5.4: 75 ms
	if err != nil {
		return 0, 0, err
	}
	rh, celsius = aht10Climate(r)
	return rh, celsius, nil
}

// idle gives the part time, then waits until it is not busy, and returns what it
// reads: the status first.
func (a aht10) idle(wait time.Duration, n int) ([]byte, error) {
	r := make([]byte, n)
	for range 40 {
		if err := a.pause(wait); err != nil {
			return nil, err
		}
		if err := a.fetch(r); err != nil {
			return nil, err
		}
		if r[0]&0x80 == 0 {
			return r, aht10Status(r)
		}
		wait = 10 * time.Millisecond
	}
	return nil, fmt.Errorf("still busy after 400 ms (status 0x%02x; is it still wired?)", r[0])
}

// aht10Status refuses a status without the mark of the calibration (table 10).
func aht10Status(r []byte) error {
	if err := alive(r); err != nil {
		return err
	}
	if r[0]&0x08 == 0 {
		return errors.New("lost its calibration (has its power dipped?)")
	}
	return nil
}

// aht10Climate takes 20 bits of humidity and 20 bits of temperature behind the
// status (6.1, 6.2).
func aht10Climate(r []byte) (rh, celsius float64) {
	h := int(r[1])<<12 | int(r[2])<<4 | int(r[3])>>4
	t := int(r[3]&0x0f)<<16 | int(r[4])<<8 | int(r[5])
	return float64(h) / (1 << 20) * 100, float64(t)/(1<<20)*200 - 50
}
