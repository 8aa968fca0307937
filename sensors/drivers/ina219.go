package drivers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the INA219 (datasheet SBOS448, 8.6).
const (
	ina219Config      = 0
	ina219Shunt       = 1 // 10 µV
	ina219Bus         = 2 // 4 mV from bit 3; CNVR, OVF
	ina219Power       = 3 // reading it clears CNVR
	ina219Current     = 4
	ina219Calibration = 5
)

// ina219Settings are: bus range 32 V, 128 samples of bus and shunt averaged in 68.1 ms,
// continuous mode. The bits of the shunt's range are added.
const (
	ina219Settings = 0x27ff
	ina219Reset    = 0x8000 // as at power-on (8.6.2.1, RST)
)

// The range of the shunt's voltage is 40, 80, 160 or 320 mV.
const (
	ina219MinRange = 0.04
	ina219MaxRange = 0.32
)

// ina219Options are the options of kind ina219, TI's meter of voltage and
// current on I2C.
type ina219Options struct {
	onI2C
	// the resistor that the current flows through, in ohms
	Shunt ohms `yaml:"shunt"`
	// the greatest current to measure, in A; without it, the current that makes 320 mV at the shunt
	MaxCurrent float64 `yaml:"max_current"`
}

// The pins A0 and A1 go to ground, V+, SDA or SCL.
func newINA219() Options {
	var all []uint16
	for addr := uint16(0x40); addr <= 0x4f; addr++ {
		all = append(all, addr)
	}
	return &ina219Options{onI2C: newOnI2C("an INA219", all...), Shunt: 0.1}
}

// Check bounds the current by the shunt: the part measures up to 320 mV across it.
func (o *ina219Options) Check() []Problem {
	problems := o.onI2C.Check()
	if o.Shunt < 1e-4 || o.Shunt > 1000 {
		return append(problems, problem("shunt", "%v ohms is not a shunt: it is printed on it, R100 is 0.1", o.Shunt))
	}
	limit := ina219MaxRange / float64(o.Shunt)
	if o.MaxCurrent < 0 || o.MaxCurrent > limit*1.0001 {
		problems = append(problems, problem("max_current",
			"%v is not between 0 and the %.4g A that make 320 mV at a shunt of %v ohms", o.MaxCurrent, limit, o.Shunt))
	}
	return problems
}

// Pace is half a minute. Each measurement is an average over 68 ms; the current between two
// readings is not measured.
func (o *ina219Options) Pace() time.Duration { return 30 * time.Second }

// Quantities returns the voltage of the bus against ground, the current through the shunt, and
// their product.
func (o *ina219Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{voltage, current, watts}
}

// ina219Scale holds the settings of the part for a shunt and a maximum current.
type ina219Scale struct {
	config, calibration uint16
	max                 int     // largest value of the shunt's register
	step                float64 // resolution of the current in A
}

// scale finds the smallest range for the shunt, and the calibration
// 0.04096/(step*shunt) for the finest step, max_current/2^15 (8.5.1). Bit 0 of it
// is always 0.
func (o *ina219Options) scale() ina219Scale {
	shunt, across := float64(o.Shunt), o.MaxCurrent*float64(o.Shunt)
	if across == 0 {
		across = ina219MaxRange
	}
	gain := 0
	for gain < 3 && across > 1.0001*math.Ldexp(ina219MinRange, gain) {
		gain++
	}
	calibration := uint16(min(0.04096*32768/across, 0xfffe)) &^ 1
	return ina219Scale{
		config:      ina219Settings | uint16(gain)<<11,
		calibration: calibration,
		max:         4000 << gain,
		step:        0.04096 / (float64(calibration) * shunt),
	}
}

// Open resets the part, writes the settings and the calibration and waits for the
// first measurement.
func (o *ina219Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &ina219Sensor{p, o.scale()}
	if err := p.Measure(ctx, s.start); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// ina219Sensor is one open part, which measures continuously.
type ina219Sensor struct {
	*i2c.Part
	scale ina219Scale
}

// start resets the part, so that no settings of another program stay, and waits until a
// measurement with the new settings is complete.
func (s *ina219Sensor) start() error {
	if err := s.WriteWord(ina219Config, ina219Reset); err != nil {
		return err
	}
	if err := s.Pause(time.Millisecond); err != nil {
		return err
	}
	if err := s.WriteWord(ina219Config, s.scale.config); err != nil {
		return err
	}
	if err := s.WriteWord(ina219Calibration, s.scale.calibration); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.Pause(160 * time.Millisecond) // twice 68.1 ms, and 10 %
}

// Next reads the voltage of the bus in V (±0.5 %, steps of 4 mV), the current in
// A (±0.5 % and the shunt's; positive from IN+ to IN-) and their product in W, as
// averaged over 68 ms, at most 160 ms ago. Each measurement is read once.
func (s *ina219Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var bus, shunt, amps uint16
	err := s.Measure(ctx, func() (err error) {
		if bus, err = s.converted(); err != nil {
			return err
		}
		if shunt, err = s.ReadWord(ina219Shunt); err != nil {
			return err
		}
		if amps, err = s.ReadWord(ina219Current); err != nil {
			return err
		}
		// Reading the power register clears CNVR.
		if _, err = s.ReadWord(ina219Power); err != nil {
			return err
		}
		return s.check()
	})
	if err != nil {
		return nil, err
	}
	v := float64(bus>>3) * 0.004
	// The 13 bits reach 32.76 V, but the part measures only up to 32 V.
	if bus>>3 > 8000 {
		return nil, s.Explain(fmt.Errorf("voltage %v V is beyond what the part can measure (0 to 32)", v))
	}
	voltage := sensors.Sample{Quantity: "voltage", Value: host.RoundToStep(v, 0.004)}
	if s.scale.overflows(bus, int16(shunt)) {
		err := s.Explain(s.scale.overflowError())
		return []sensors.Sample{voltage, {Quantity: "current", Err: err}, {Quantity: "power", Err: err}}, nil
	}
	a := float64(int16(amps)) * s.scale.step
	return []sensors.Sample{voltage,
		{Quantity: "current", Value: host.RoundToStep(a, s.scale.step)},
		{Quantity: "power", Value: host.RoundToStep(v*a, 20*s.scale.step)}, // as fine as the part's own (8.5.1)
	}, nil
}

// converted waits for a new measurement, and returns the bus voltage register. The part makes
// one every 68 ms (8.6.3.2, CNVR).
func (s *ina219Sensor) converted() (bus uint16, err error) {
	const ready = 2
	for range 9 {
		if bus, err = s.ReadWord(ina219Bus); err != nil || bus&ready != 0 {
			return bus, err
		}
		if err = s.Pause(20 * time.Millisecond); err != nil {
			return bus, err
		}
	}
	return bus, errors.New("makes no measurement (has its power dipped?)")
}

// check returns an error if the part has lost its settings: a power dip clears the calibration,
// and the part then always reports a current of 0.
func (s *ina219Sensor) check() error {
	config, err := s.ReadWord(ina219Config)
	if err != nil {
		return err
	}
	calibration, err := s.ReadWord(ina219Calibration)
	if err != nil {
		return err
	}
	if config != s.scale.config || calibration != s.scale.calibration {
		return fmt.Errorf("settings read 0x%04x 0x%04x, not 0x%04x 0x%04x (is it an INA219? has its power dipped?)",
			config, calibration, s.scale.config, s.scale.calibration)
	}
	return nil
}

// overflows reports whether the current is unknown: the shunt voltage is at the end of its
// range, or the part could not compute (OVF). The bus voltage is still valid (8.6.3.2).
func (c ina219Scale) overflows(bus uint16, shunt int16) bool {
	const overflow = 1
	return bus&overflow != 0 || int(shunt) >= c.max || int(shunt) <= -c.max
}

// overflowError names the largest current that can be measured, in A.
func (c ina219Scale) overflowError() error {
	limit := float64(c.max) * c.step * float64(c.calibration) / 4096
	return fmt.Errorf("more current than can be measured (%.4g A): raise max_current or take a smaller shunt", limit)
}
