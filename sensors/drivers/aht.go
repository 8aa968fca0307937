package drivers

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The status of Aosong's parts (AHT20 table 10, AHT10 table 10).
// ahtBusy is set while the part measures, ahtCalibrated once it has loaded its
// calibration.
const (
	ahtBusy       = 0x80
	ahtCalibrated = 0x08
)

// aht is what the AHT10 and the AHT20 have in common. A measurement is the
// status, 20 bits of humidity and 20 bits of temperature.
type aht struct {
	*i2c.Part
	length int    // of what is read for a measurement
	sum    bool   // the last byte of it is a checksum of the others
	last   []byte // what was read last
}

// reset brings the part out of any state, also one in which it stays busy or
// measures no more (5.5).
func (a *aht) reset() error {
	if err := a.Command(0xba); err != nil {
		return err
	}
	return a.Pause(20 * time.Millisecond) // at most
}

// calibrate has the part load its calibration (5.4).
func (a *aht) calibrate(command byte) error {
	if err := a.Command(command, 0x08, 0x00); err != nil {
		return err
	}
	return a.readBaseline(10 * time.Millisecond)
}

// readBaseline reads what the part has from before the next measurement.
func (a *aht) readBaseline(wait time.Duration) (err error) {
	a.last, err = a.awaitIdle(wait, 6)
	return err
}

// convert measures once, in 80 ms. A part that was not busy right after the
// command and then reads as before has not measured. It takes 75 ms: later than
// 40 ms nobody can tell.
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
	// The status alone proves nothing, and neither do equal bytes: in still air two
	// measurements may be the same. Both at once are a part that did not start.
	if status[0]&ahtBusy == 0 && inTime && bytes.Equal(r[1:6], a.last[1:6]) {
		return nil, errors.New("repeats its last measurement and makes no other")
	}
	a.last = r
	return r, nil
}

// awaitIdle gives the part time, then waits until it is not busy, and returns what it
// reads: the status first.
func (a *aht) awaitIdle(wait time.Duration, n int) ([]byte, error) {
	r := make([]byte, n)
	// about 400 ms more, five times what a measurement takes
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

// checksum checks a whole measurement of a part that sends one.
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

// ahtStatus refuses a status without the mark of the calibration.
func ahtStatus(r []byte) error {
	if err := i2c.CheckAlive(r); err != nil {
		return err
	}
	if r[0]&ahtCalibrated == 0 {
		return errors.New("lost its calibration (has its power dipped?)")
	}
	return nil
}

// ahtRaw takes a measurement apart.
func ahtRaw(r []byte) (h, t int) {
	h = int(r[1])<<12 | int(r[2])<<4 | int(r[3])>>4
	t = int(r[3]&0x0f)<<16 | int(r[4])<<8 | int(r[5])
	return h, t
}

// ahtClimate is the conversion of 6.1 and 6.2, the same for both parts.
func ahtClimate(h, t int) (rh, celsius float64) {
	return float64(h) / (1 << 20) * 100, float64(t)/(1<<20)*200 - 50
}
