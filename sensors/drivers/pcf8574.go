package drivers

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// pcf8574Options are the options of kind pcf8574: a contact on one pin of NXP's and TI's port
// expander on I2C (TI SCPS068K). Each pin is a sensor; outputs may be on other pins of the
// part. The driver follows the datasheet; it was not tested with a real part.
type pcf8574Options struct {
	onI2C
	// P0 to P7
	Pin string `yaml:"pin"`
	// how often the part is asked; each time takes 0.3 ms of a bus at 100 kHz
	Poll time.Duration `yaml:"poll"`
	contactCommon
}

// newPCF8574 has the addresses of the PCF8574 and of the PCF8574A. It polls as often as
// newMCP23017.
func newPCF8574() Options {
	return &pcf8574Options{
		onI2C: newOnI2C("a PCF8574", 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
			0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f),
		Poll: 100 * time.Millisecond, contactCommon: newContactCommon(),
	}
}

// Check says what is wrong with the address, the pin and the contact.
func (o *pcf8574Options) Check() []Problem {
	problems := o.onI2C.Check()
	if _, ok := PCF8574Pin(o.Pin); !ok {
		problems = append(problems, problem("pin", "%q is not a pin of it: it has P0 to P7", o.Pin))
	}
	if o.Poll < minPoll || o.Poll > maxPoll {
		problems = append(problems, problem("poll", "%v is not between %v and %v", o.Poll, minPoll, maxPoll))
	}
	return append(problems, o.check()...)
}

// PCF8574Pin returns the bit of a pin such as "P3". ok is false if there is no such pin.
func PCF8574Pin(name string) (bit byte, ok bool) {
	if len(name) != 2 || name[0] != 'P' || name[1] < '0' || name[1] > '7' {
		return 0, false
	}
	return 1 << (name[1] - '0'), true
}

// Claims returns the pin: the others are free for other sensors and for outputs.
func (o *pcf8574Options) Claims() []string {
	return []string{claim(o.I2C, o.Address) + " " + o.Pin}
}

// Open makes the pin an input by setting it high: the part then pulls it up with 0.1 mA, and a
// contact to ground pulls it low. Other pins keep their levels.
func (o *pcf8574Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	bit, _ := PCF8574Pin(o.Pin)
	l := &pcf8574Line{p, bit, o.Poll}
	latch := h.Latch(claim(o.I2C, o.Address))
	err = p.MeasureExclusive(ctx, func() error { return DrivePCF8574(p, latch, bit, true) })
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return o.open("pin "+o.Pin, l, gpio.PullUp), nil
}

// pcf8574Line is one pin of the part as an input.
type pcf8574Line struct {
	*i2c.Part
	bit  byte
	poll time.Duration
}

// Level reads the pin. No settings need a check: after power-on all pins are high, and so
// inputs.
func (l *pcf8574Line) Level(ctx context.Context) (high bool, err error) {
	err = l.Measure(ctx, func() error {
		levels, err := PCF8574Levels(l.Part)
		high = levels&l.bit != 0
		return err
	})
	return high, err
}

// WaitEdges waits for the poll interval: without an interrupt line the part reports no edges.
func (l *pcf8574Line) WaitEdges(ctx context.Context, timeout time.Duration, _ []gpio.Edge) (int, error) {
	_ = host.Sleep(ctx, min(timeout, l.poll))
	return 0, nil
}

// DrivePCF8574 sets one pin. The caller must be within [i2c.Part.MeasureExclusive]. A write sets
// all pins of the part, so pins that we do not use yet are written with their current levels:
// an output that was on before the agent was killed stays on until its own line is opened.
func DrivePCF8574(p *i2c.Part, latch *driver.Latch, bit byte, high bool) error {
	levels, err := PCF8574Levels(p)
	if err != nil {
		return err
	}
	driven, value := latch.Driven|bit, withBit(latch.Value, bit, high)
	if err := p.Command(value&driven | levels&^driven); err != nil {
		return err
	}
	latch.Driven, latch.Value = driven, value
	return nil
}

// PCF8574Levels returns the levels of all pins. The caller must be within [i2c.Part.Measure].
func PCF8574Levels(p *i2c.Part) (byte, error) {
	var r [1]byte
	if err := p.Receive(r[:]); err != nil {
		return 0, err
	}
	if r[0] == 0 { // all pins low, or a bus that is held low
		return 0, p.CheckSDAHigh()
	}
	return r[0], nil
}
