package output

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// pcf8574Options are the options of an output on a pin of NXP's and TI's port expander (SCPS068K).
type pcf8574Options struct {
	Bus     i2c.Bus
	Address uint16
	Pin     string
	Low     bool // the pin is low while the output is on
}

// Check says what is wrong with the address and the pin.
func (o *pcf8574Options) Check() (problems []drivers.Problem) {
	if a := o.Address &^ 7; a != 0x20 && a != 0x38 {
		problems = append(problems, problem("pcf8574", "0x%02x is not an address of it: a PCF8574 has 0x20 to 0x27, "+
			"a PCF8574A 0x38 to 0x3f", o.Address))
	}
	if _, ok := drivers.PCF8574Pin(o.Pin); !ok && o.Pin != "" {
		problems = append(problems, problem("pin", "%q is not a pin of it: it has P0 to P7", o.Pin))
	}
	return problems
}

// Claims is the pin.
func (o *pcf8574Options) Claims() []string { return []string{claim(o.Bus, o.Address, o.Pin)} }

func (o *pcf8574Options) open(ctx context.Context, h *Hardware, safe bool) (outputs.Line, error) {
	p, err := h.I2C.Open(&h.Host, o.Bus, o.Address)
	if err != nil {
		return nil, err
	}
	bit, _ := drivers.PCF8574Pin(o.Pin)
	l := &pcf8574Line{Part: p, latch: h.Latch(fmt.Sprintf("%v 0x%02x", o.Bus, o.Address)), bit: bit, low: o.Low}
	if err := l.Set(ctx, safe); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return l, nil
}

// pcf8574Line is one pin of the part as an output.
type pcf8574Line struct {
	*i2c.Part
	latch *drivers.Latch
	bit   byte
	low   bool
}

// Set sets the pin. The part is always written as a whole: see [drivers.DrivePCF8574].
func (l *pcf8574Line) Set(ctx context.Context, on bool) error {
	return l.MeasureExclusive(ctx, func() error {
		return drivers.DrivePCF8574(l.Part, l.latch, l.bit, on != l.low)
	})
}

// Get reads the level at the pin. The part pulls a high pin up only weakly, so Get also sees that
// something else holds it low.
func (l *pcf8574Line) Get(ctx context.Context) (on bool, err error) {
	err = l.MeasureExclusive(ctx, func() error {
		levels, err := drivers.PCF8574Levels(l.Part)
		on = levels&l.bit != 0 != l.low
		return err
	})
	return on, err
}
