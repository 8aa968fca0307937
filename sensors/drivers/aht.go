package drivers

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Bits of the status of Aosong's parts (AHT20 table 10, AHT10 table 10). ahtBusy is set while
// the part measures, ahtCalibrated after it has loaded its calibration.
const (
	ahtBusy       = 0x80
	ahtCalibrated = 0x08
)

// aht has what the AHT10 and the AHT20 share. A measurement is the status, 20 bits of humidity
// and 20 bits of temperature.
type aht struct {
	*i2c.Part
	length int    // bytes of a measurement
	sum    bool   // its last byte is a checksum
	last   []byte // the measurement that was read last
}

// reset brings the part out of any state, also if it stays busy or does not measure any more
// (5.5).
func (a *aht) reset() error {
	if err := a.Command(0xba); err != nil {
		return err
	}
	return a.Pause(20 * time.Millisecond) // at most
}

// calibrate makes the part load its calibration (5.4).
func (a *aht) calibrate(command byte) error {
	if err := a.Command(command, 0x08, 0x00); err != nil {
		return err
	}
	return a.readBaseline(10 * time.Millisecond)
}

// readBaseline reads the old measurement, to which convert compares the first new one.
func (a *aht) readBaseline(wait time.Duration) (err error) {
	a.last, err = a.awaitIdle(wait, 6)
	return err
}

// convert measures once, in 80 ms. It returns an error if the part repeats its last measurement
// and was not busy right after the command: then it has not measured. This check needs the
// status within 40 ms, because a measurement takes 75 ms.
func (a *aht) convert() ([]byte, error) {
	began, status := time.Now(), []byte{0}
	if err := a.Command(0xac, 0x33, 0x00); err != nil {
		return nil, err
	}
	if err := a.Receive(status); err != nil {
		return nil, err
	}
	inTime := time.Since(began) < 40*time.Millisecond
	r, err := a.awaitIdle(80*time.Millisecond, a.length) // 5.4: 75 ms
	if err != nil {
		return nil, err
	}
	// Equal bytes alone prove nothing: in still air two measurements may be the same.
	if status[0]&ahtBusy == 0 && inTime && bytes.Equal(r[1:6], a.last[1:6]) {
		return nil, errors.New("repeats its last measurement and makes no other")
	}
	a.last = r
	return r, nil
}

// awaitIdle waits for a given time and then until the part is not busy. It returns n bytes, of
// which the first is the status.
func (a *aht) awaitIdle(wait time.Duration, n int) ([]byte, error) {
	r := make([]byte, n)
	// at most about 400 ms more: five times as long as a measurement
	for range 40 {
		if err := a.Pause(wait); err != nil {
			return nil, err
		}
		if err := a.Receive(r); err != nil {
			return nil, err
		}
		if err := a.checksum(r); err != nil {
			return nil, err
		}
		if r[0]&ahtBusy == 0 {
			return r, ahtStatus(r)
		}
		wait = 10 * time.Millisecond
	}
	return nil, fmt.Errorf("still busy after 400 ms (status 0x%02x; is it still wired?)", r[0])
}

// checksum checks the checksum of a whole measurement, if the part sends one.
func (a *aht) checksum(r []byte) error {
	if !a.sum || len(r) < a.length {
		return nil
	}
	if err := i2c.CheckAlive(r); err != nil {
		return err
	}
	if want := i2c.CRC8(0xff, r[:len(r)-1]); r[len(r)-1] != want {
		return fmt.Errorf("wrong checksum 0x%02x, want 0x%02x", r[len(r)-1], want)
	}
	return nil
}

// ahtStatus returns an error for a status without ahtCalibrated.
func ahtStatus(r []byte) error {
	if err := i2c.CheckAlive(r); err != nil {
		return err
	}
	if r[0]&ahtCalibrated == 0 {
		return errors.New("lost its calibration (has its power dipped?)")
	}
	return nil
}

// ahtRaw returns the raw humidity and temperature of a measurement.
func ahtRaw(r []byte) (h, t int) {
	h = int(r[1])<<12 | int(r[2])<<4 | int(r[3])>>4
	t = int(r[3]&0x0f)<<16 | int(r[4])<<8 | int(r[5])
	return h, t
}

// ahtClimate converts raw values to % and °C (6.1, 6.2; the same for both parts).
func ahtClimate(h, t int) (rh, celsius float64) {
	return float64(h) / (1 << 20) * 100, float64(t)/(1<<20)*200 - 50
}
