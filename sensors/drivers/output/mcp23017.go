package output

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// mcp23017Options are the options of an output on a pin of Microchip's port expander (DS20001952C).
// Other pins may be contacts or outputs: each changes only the bits of its own pin.
type mcp23017Options struct {
	Bus     i2c.Bus
	Address uint16
	Pin     string
	Low     bool // the pin is low while the output is on
}

// Check says what is wrong with the address and the pin.
func (o *mcp23017Options) Check() (problems []drivers.Problem) {
	if !slices.Contains(drivers.Addresses("mcp23017"), o.Address) {
		problems = append(problems, problem("mcp23017", "0x%02x is not an address of an MCP23017: it has 0x20 to 0x27",
			o.Address))
	}
	if _, _, ok := drivers.MCP23017Pin(o.Pin); !ok && o.Pin != "" {
		problems = append(problems, problem("pin", "%q is not a pin of it: it has A0 to A7 and B0 to B7", o.Pin))
	}
	return problems
}

// Claims returns the pin, in the same form as kind mcp23017 of a sensor.
func (o *mcp23017Options) Claims() []string { return []string{claim(o.Bus, o.Address, o.Pin)} }

// claim returns the claim of a pin of a part on a bus.
func claim(bus i2c.Bus, addr uint16, pin string) string {
	return fmt.Sprintf("%v 0x%02x %s", bus, addr, pin)
}

func (o *mcp23017Options) open(ctx context.Context, h *Hardware, safe bool) (outputs.Line, error) {
	p, err := h.I2C.Open(&h.Host, o.Bus, o.Address)
	if err != nil {
		return nil, err
	}
	port, bit, _ := drivers.MCP23017Pin(o.Pin)
	l := &mcp23017Line{Part: p, port: byte(port), bit: bit, low: o.Low}
	if err := l.Set(ctx, safe); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return l, nil
}

// mcp23017Line is one pin of the part as an output.
type mcp23017Line struct {
	*i2c.Part
	port, bit byte
	low       bool
}

// Set writes the latch before the direction: after power-on all pins are inputs, and the pin must
// have its level when it becomes an output. Registers that already have their value are not
// written.
func (l *mcp23017Line) Set(ctx context.Context, on bool) error {
	return l.Measure(ctx, func() error {
		if _, err := l.registers(); err != nil {
			return err // do not write to an unknown part
		}
		for _, set := range []struct {
			reg byte
			one bool
		}{{drivers.MCPLatch, on != l.low}, {drivers.MCPPolarity, false}, {drivers.MCPDirection, false}} {
			if err := l.Update(set.reg+l.port, func(was byte) byte { return withBit(was, l.bit, set.one) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// Get reads the level at the pin together with its settings: after a power dip the pin is an
// input.
func (l *mcp23017Line) Get(ctx context.Context) (on bool, err error) {
	err = l.Measure(ctx, func() error {
		regs, err := l.registers()
		if err == nil {
			on, err = l.decode(regs)
		}
		return err
	})
	return on, err
}

// registers reads all registers in one transfer, so that they are consistent.
func (l *mcp23017Line) registers() ([]byte, error) {
	regs := make([]byte, drivers.MCPLatch+2)
	if err := l.ReadRegister(drivers.MCPDirection, regs); err != nil {
		return nil, err
	}
	return regs, drivers.CheckMCP23017(regs)
}

// decode returns the level of the pin, or an error if the pin has lost its settings.
func (l *mcp23017Line) decode(regs []byte) (on bool, err error) {
	is := func(reg byte) bool { return regs[reg+l.port]&l.bit != 0 }
	if is(drivers.MCPDirection) || is(drivers.MCPPolarity) {
		return false, errors.New("the pin has lost its settings (has the part's power dipped, or does something else " +
			"write to it?)")
	}
	return is(drivers.MCPLevel) != l.low, nil
}

// withBit returns was with one bit set or cleared.
func withBit(was, bit byte, one bool) byte {
	if one {
		return was | bit
	}
	return was &^ bit
}
