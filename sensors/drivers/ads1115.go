package drivers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the ADS1115 (datasheet SBAS444, 8.1).
const (
	adsConversion = 0
	adsConfig     = 1
)

// adsSettings start one conversion (OS, MODE) at 128 samples per second (1600 for an ADS1015),
// with the comparator off. The bits of input and range are added.
const (
	adsDone     = 0x8000 // written: start; read: not converting
	adsSettings = adsDone | 0x0100 | 0x0080 | 0x0003
)

// adsInputs are the values of MUX by the pins between which the part measures (8.1.3).
var adsInputs = map[string]uint16{
	"A0-A1": 0, "A0-A3": 1, "A1-A3": 2, "A2-A3": 3, "A0": 4, "A1": 5, "A2": 6, "A3": 7,
}

// adsRanges are the full-scale ranges of the amplifier, in the order of PGA (8.1.3).
var adsRanges = []volts{6.144, 4.096, 2.048, 1.024, 0.512, 0.256}

// ads1115Options are the options of kinds ads1115 and ads1015, TI's analog-to-digital converters
// of 16 and 12 bits on I2C. Each input is a separate sensor: a voltage, the value of a
// transducer, or a supervised loop.
type ads1115Options struct {
	onI2C
	// A0, A1, A2 or A3 against ground; A0-A1, A0-A3, A1-A3 or A2-A3 against each other
	Input string `yaml:"input"`
	// full scale: 6.144V, 4.096V, 2.048V, 1.024V, 512mV or 256mV; the part's supply limits the
	// input all the same
	Range volts `yaml:"range"`
	// value = volts * scale + offset, of a transducer such as a level probe
	Scale float64 `yaml:"scale"`
	// see scale
	Offset float64 `yaml:"offset"`
	// what the transducer measures, such as level; without it, the voltage
	Quantity string `yaml:"quantity"`
	// of the quantity
	Unit string `yaml:"unit"`
	// the input is a supervised loop with a resistor at its end: closed, open, short or cut;
	// keys supply, pull_up, end_of_line, contact, series, bands, debounce
	Loop *loop `yaml:"loop"`
}

// The pin ADDR at ground is 0x48, at VDD 0x49, at SDA 0x4a, at SCL 0x4b.
func newADS1115() Options { return newADS("an ADS1115") }
func newADS1015() Options { return newADS("an ADS1015") }

// newADS has a default range of 4.096 V: the smallest above a supply of 3.3 V. A range that is
// too large only costs resolution.
func newADS(part string) *ads1115Options {
	return &ads1115Options{onI2C: newOnI2C(part, 0x48, 0x49, 0x4a, 0x4b), Range: 4.096, Scale: 1}
}

// Check also rejects keys of a transducer at a loop.
func (o *ads1115Options) Check() []Problem {
	problems := o.onI2C.Check()
	if _, ok := adsInputs[o.Input]; !ok {
		problems = append(problems, problem("input", "%q is not one of %s", o.Input, names(adsInputs)))
	}
	if !slices.Contains(adsRanges, o.Range) {
		problems = append(problems, problem("range", "%v is not one of 6.144V, 4.096V, 2.048V, 1.024V, 512mV, 256mV",
			o.Range))
	}
	if o.Loop != nil {
		return append(problems, o.checkLoop()...)
	}
	return append(problems, o.checkTransducer()...)
}

// checkLoop checks that the range is above the supply: an input at the end of its range is a
// failed read, so a cut cable would never be reported as cut.
func (o *ads1115Options) checkLoop() []Problem {
	problems := o.Loop.check()
	if o.Scale != 1 || o.Offset != 0 || o.Quantity != "" || o.Unit != "" {
		problems = append(problems, problem("loop", "has states: leave out scale, offset, quantity and unit"))
	}
	if o.Range <= o.Loop.supply() {
		problems = append(problems, problem("range",
			"%v is not above the loop's supply of %v, which it reads when it is cut", o.Range, o.Loop.supply()))
	}
	return problems
}

// checkTransducer rejects a scale without a quantity: the result is not a voltage, but would be
// published as one.
func (o *ads1115Options) checkTransducer() (problems []Problem) {
	if o.Scale == 0 {
		problems = append(problems, problem("scale", "0 would make every value the same"))
	}
	if o.Quantity == "" && (o.Scale != 1 || o.Offset != 0 || o.Unit != "") {
		problems = append(problems, problem("quantity",
			"is missing: say what scale, offset and unit make of the voltage, as in quantity: level"))
	}
	if o.Quantity != "" && !sensors.IsName(o.Quantity) {
		problems = append(problems, problem("quantity", "%q has other characters than A-Z a-z 0-9 _ -", o.Quantity))
	}
	return problems
}

// Pace is 0 for a loop: like a contact, it reports when it changes.
func (o *ads1115Options) Pace() time.Duration {
	if o.Loop != nil {
		return 0
	}
	return 30 * time.Second
}

// Claims returns the claim of the input: the others are free for other sensors.
func (o *ads1115Options) Claims() []string {
	return []string{claim(o.I2C, o.Address) + " " + o.Input}
}

// Quantities returns one: the states of a loop, what a transducer measures, or the voltage.
func (o *ads1115Options) Quantities() []sensors.Quantity {
	switch {
	case o.Loop != nil:
		return []sensors.Quantity{loopStates}
	case o.Quantity != "":
		return []sensors.Quantity{{Name: o.Quantity, Unit: o.Unit}}
	}
	return []sensors.Quantity{voltage}
}

// Open converts once, to check that the part answers and accepts its settings.
func (o *ads1115Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	a := &ads1115{
		Part:   p,
		config: adsSettings | adsInputs[o.Input]<<12 | uint16(slices.Index(adsRanges, o.Range))<<9,
		step:   float64(o.Range) / 32768,
		single: adsInputs[o.Input] >= adsInputs["A0"],
	}
	if _, err := a.convert(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if o.Loop != nil {
		return &loopSensor{ads1115: a, loop: o.Loop, watch: o.Loop.watch()}, nil
	}
	return &ads1115Sensor{a, o}, nil
}

// ads1115 is one input of the part.
type ads1115 struct {
	*i2c.Part
	// as written to start a conversion; read back to check it, except for the bit adsDone
	config uint16
	step   float64 // V
	single bool    // one pin against ground, not two against each other
}

// volts converts once, in 8 to 9 ms. It returns an error for a value at the end of the range,
// because the real voltage may be higher.
func (a *ads1115) volts(ctx context.Context) (float64, error) {
	raw, err := a.convert(ctx)
	if err != nil {
		return 0, err
	}
	const full = 0x7ff0 // of an ADS1015, whose 12 bits are the upper ones
	if raw >= full || raw == math.MinInt16 {
		return 0, a.Explain(fmt.Errorf("the input is beyond the range of %.4gV: raise range, if the part's supply "+
			"allows it", a.step*32768))
	}
	return a.checkPossible(float64(raw) * a.step)
}

// adsAgainstGround is the possible voltage of a pin against ground (7.1, absolute maximum
// ratings, with a supply of 5.5 V): beyond it the protection diodes conduct.
var adsAgainstGround = limits{-0.3, 5.8}

// checkPossible returns an error for a voltage that the input cannot have.
func (a *ads1115) checkPossible(v float64) (float64, error) {
	l := adsAgainstGround
	if !a.single || v >= l.min && v <= l.max {
		return v, nil
	}
	return 0, a.Explain(fmt.Errorf("%.4gV against ground is not possible (%v to %v; are the grounds connected?)",
		v, l.min, l.max))
}

// convert starts a conversion and waits for its end. It reads the settings before and after the
// result. So the result is certainly of this input, even if another program uses the part, and
// not of a dead bus.
func (a *ads1115) convert(ctx context.Context) (raw int16, err error) {
	err = a.MeasureExclusive(ctx, func() error {
		if err := a.WriteWord(adsConfig, a.config); err != nil {
			return err
		}
		if err := a.await(); err != nil {
			return err
		}
		word, err := a.ReadWord(adsConversion)
		if err != nil {
			return err
		}
		raw = int16(word)
		_, err = a.done()
		return err
	})
	return raw, err
}

// await waits for the end of a conversion: 1/128 s ± 10 %.
func (a *ads1115) await() error {
	wait := 8 * time.Millisecond
	// 8 ms, then steps of 1 ms: at most 17 ms for a part that never finishes.
	for range 10 {
		if err := a.Pause(wait); err != nil {
			return err
		}
		if done, err := a.done(); done || err != nil {
			return err
		}
		wait = time.Millisecond
	}
	return errors.New("still converting after 17ms")
}

// done reports whether the conversion has ended. It returns an error if the part has other
// settings.
func (a *ads1115) done() (bool, error) {
	config, err := a.ReadWord(adsConfig)
	if err == nil && config|adsDone != a.config {
		err = fmt.Errorf("settings read 0x%04x, not 0x%04x (is it an ADS1115? has its power dipped?)",
			config|adsDone, a.config)
	}
	return config&adsDone != 0, err
}

// ads1115Sensor measures a voltage, or the value of a transducer.
type ads1115Sensor struct {
	*ads1115
	options *ads1115Options
}

// Next converts once, in 9 ms. It rounds the value to the resolution of the converter times the
// scale: further digits are noise.
func (s *ads1115Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	v, err := s.volts(ctx)
	if err != nil {
		return nil, err
	}
	value := host.RoundToStep(v*s.options.Scale+s.options.Offset, s.step*math.Abs(s.options.Scale))
	return []sensors.Sample{{Quantity: s.options.Quantities()[0].Name, Value: value}}, nil
}
