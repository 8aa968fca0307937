package output

import (
	"context"
	"errors"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// pcf8574Options are those of a pin of NXP's and TI's port expander (SCPS068K).
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
	if _, ok := o.bit(); !ok && o.Pin != "" {
		problems = append(problems, problem("pin", "%q is not a pin of it: it has P0 to P7", o.Pin))
	}
	return problems
}

// bit is that of the pin.
func (o *pcf8574Options) bit() (bit byte, ok bool) {
	if len(o.Pin) != 2 || o.Pin[0] != 'P' || o.Pin[1] < '0' || o.Pin[1] > '7' {
		return 0, false
	}
	return 1 << (o.Pin[1] - '0'), true
}

// Claims is the pin.
func (o *pcf8574Options) Claims() []string { return []string{claim(o.Bus, o.Address, o.Pin)} }

func (o *pcf8574Options) open(ctx context.Context, h *Hardware, safe bool) (outputs.Line, error) {
	p, err := h.I2C.Open(&h.Host, o.Bus, o.Address)
	if err != nil {
		return nil, err
	}
	bit, _ := o.bit()
	l := &pcf8574Line{Part: p, latch: h.latchOf(claim(o.Bus, o.Address, "")), bit: bit, low: o.Low}
	if err := l.Set(ctx, safe); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return l, nil
}

// A latch is what was written to a part, which cannot be read: reading it gives the levels
// of its pins. It is for one line at a time, which has the lock of the part.
type latch struct {
	driven byte // the bits of pins that are outputs of ours
	value  byte // what they were written
}

// latchOf is the latch of a part; all its lines share it.
func (h *Hardware) latchOf(part string) *latch {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.latches[part] == nil {
		h.latches[part] = &latch{}
	}
	return h.latches[part]
}

// pcf8574Line is one pin of the part as an output.
type pcf8574Line struct {
	*i2c.Part
	latch *latch
	bit   byte
	low   bool
}

// Set writes all pins in one byte, as the part has it. Pins that are no outputs of ours keep
// the level that they have: another output that was on before the agent was killed stays as
// it is until its own line is opened.
func (l *pcf8574Line) Set(ctx context.Context, on bool) error {
	return l.MeasureExclusive(ctx, func() error {
		levels, err := l.levels()
		if err != nil {
			return err
		}
		driven := l.latch.driven | l.bit
		value := withBit(l.latch.value, l.bit, on != l.low)
		if err := l.Command(value&driven | levels&^driven); err != nil {
			return err
		}
		l.latch.driven, l.latch.value = driven, value
		return nil
	})
}

// Get reads the level at the pin. A high pin is held by a weak current only: what pulls it
// low shows.
func (l *pcf8574Line) Get(ctx context.Context) (on bool, err error) {
	err = l.MeasureExclusive(ctx, func() error {
		levels, err := l.levels()
		on = levels&l.bit != 0 != l.low
		return err
	})
	return on, err
}

// levels are those of all pins.
func (l *pcf8574Line) levels() (byte, error) {
	var r [1]byte
	if err := l.Receive(r[:]); err != nil {
		return 0, err
	}
	if r[0] == 0 { // which is a value, and what a bus reads that is held low
		return 0, l.CheckSDAHigh()
	}
	return r[0], nil
}
