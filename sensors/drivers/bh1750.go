package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// bh1750Options are the options of kind bh1750, Rohm's light meter on I2C.
type bh1750Options struct{ onI2C }

// The pin ADDR low is 0x23, high 0x5c.
func newBH1750() Options { return &bh1750Options{newOnI2C("a BH1750", 0x23, 0x5c)} }

// Pace is half a minute: daylight changes slowly, and a lamp shows at the next reading.
func (o *bh1750Options) Pace() time.Duration { return 30 * time.Second }

func (o *bh1750Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{driver.Illuminance}
}

// bh1750Start are the commands: power on, reset the data register, and set the default
// sensitivity 69 in two halves (datasheet 11046EDT01, instruction set).
var bh1750Start = []byte{0x01, 0x07, 0x40 | 69>>5, 0x60 | 69&0x1f}

// Open sets the sensitivity. It cannot check the part, which has no id register.
func (o *bh1750Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	err = p.Measure(ctx, func() error {
		for _, command := range bh1750Start {
			if err := p.Command(command); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &bh1750Sensor{p}, nil
}

// bh1750Sensor is one open part. It sleeps between measurements.
type bh1750Sensor struct{ *i2c.Part }

// Next measures once, in 180 ms: illuminance in lx (±20 %, steps of 0.8 lx, at
// most 54612 lx).
func (s *bh1750Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var r [2]byte
	err := s.Measure(ctx, func() error {
		if err := s.Command(0x20); err != nil { // one measurement in H-resolution mode: 1 lx
			return err
		}
		if err := s.Pause(180 * time.Millisecond); err != nil { // at most; typically 120 ms
			return err
		}
		if err := s.Receive(r[:]); err != nil {
			return err
		}
		return s.check(r)
	})
	if err != nil {
		return nil, err
	}
	return []sensors.Sample{{Quantity: "illuminance", Value: bh1750Decode(r)}}, nil
}

// check returns an error for the values that a bus without the part gives: all ones or all
// zeros. It accepts zeros, darkness, if SDA is not held low.
func (s *bh1750Sensor) check(r [2]byte) error {
	switch r {
	case [2]byte{0xff, 0xff}:
		return fmt.Errorf("reads only 0xff (is it still wired?), or it is brighter than %.0f lx", bh1750Decode(r))
	case [2]byte{}:
		return s.CheckSDAHigh() // if nothing holds SDA low, it is dark
	}
	return nil
}

// bh1750Decode converts counts to lx: 1.2 counts are 1 lx.
func bh1750Decode(r [2]byte) float64 {
	return host.RoundToStep(float64(uint16(r[0])<<8|uint16(r[1]))/1.2, 1/1.2)
}
