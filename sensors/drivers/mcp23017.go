package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// mcp23017Options are the options of kind mcp23017: a contact on one pin of Microchip's port
// expander on I2C (datasheet DS20001952). Each pin is a sensor. They share the part, and each
// changes only the bits of its own pin.
//
// The driver polls the part and does not use its interrupt. If the interrupt is wired to the Pi,
// the kernel's driver (dtoverlay=mcp23017) provides GPIO lines for kind contact.
type mcp23017Options struct {
	onI2C
	// A0 to A7, B0 to B7; according to Microchip since 2022, A7 and B7 are outputs only
	Pin string `yaml:"pin"`
	// up, the part's resistor of 100 kΩ, or off
	Pull gpio.Pull `yaml:"pull"`
	// how often the part is asked; each time takes 2 ms of a bus at 100 kHz
	Poll time.Duration `yaml:"poll"`
	contactCommon
}

// newMCP23017 polls ten times a second. Each pin needs 2 ms of bus time per poll, so 16 pins
// use a third of the bus.
func newMCP23017() Options {
	return &mcp23017Options{
		onI2C: newOnI2C("an MCP23017", 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27),
		Pull:  gpio.PullUp, Poll: 100 * time.Millisecond, contactCommon: newContactCommon(),
	}
}

const (
	// Faster polling would fill the bus; slower polling would miss a door that opens and shuts.
	minPoll = 10 * time.Millisecond
	maxPoll = 10 * time.Second
)

// Check says what is wrong with the address, the pin and the contact.
func (o *mcp23017Options) Check() []Problem {
	problems := o.onI2C.Check()
	if _, _, ok := o.bit(); !ok {
		problems = append(problems, problem("pin", "%q is not a pin of it: it has A0 to A7 and B0 to B7", o.Pin))
	}
	if o.Pull != gpio.PullUp && o.Pull != gpio.PullOff {
		problems = append(problems, problem("pull", "%q is not up or off: the part cannot pull down", o.Pull))
	}
	if o.Poll < minPoll || o.Poll > maxPoll {
		problems = append(problems, problem("poll", "%v is not between %v and %v", o.Poll, minPoll, maxPoll))
	}
	return append(problems, o.check()...)
}

// bit returns the port and the bit of the pin; see MCP23017Pin.
func (o *mcp23017Options) bit() (port int, bit byte, ok bool) { return MCP23017Pin(o.Pin) }

// MCP23017Pin returns the port of a pin such as "B3", 0 for A and 1 for B, and its bit in the
// registers of the port. ok is false if there is no such pin.
func MCP23017Pin(name string) (port int, bit byte, ok bool) {
	if len(name) != 2 || name[0] != 'A' && name[0] != 'B' || name[1] < '0' || name[1] > '7' {
		return 0, 0, false
	}
	return int(name[0] - 'A'), 1 << (name[1] - '0'), true
}

// Claims returns the pin: the others are free for other sensors.
func (o *mcp23017Options) Claims() []string {
	return []string{claim(o.I2C, o.Address) + " " + o.Pin}
}

// Open makes the pin an input. It does not change the others: they may belong to other sensors,
// or be outputs of another program.
func (o *mcp23017Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	port, bit, _ := o.bit()
	l := &mcp23017Line{Part: p, port: port, bit: bit, pull: o.Pull, poll: o.Poll}
	if err := l.configure(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return o.open("pin "+o.Pin, l, o.Pull), nil
}

// Registers of port A (table 3-5, with IOCON.BANK = 0 as after power-on). The register of port
// B follows each.
const (
	MCPDirection = 0x00 // IODIR: 1 is an input
	MCPPolarity  = 0x02 // IPOL: 1 is inverted
	mcpControl   = 0x0a // IOCON: one register at two addresses
	mcpPullUp    = 0x0c // GPPU: 1 is pulled up
	MCPLevel     = 0x12 // GPIO
	mcpRegisters = 0x14
	MCPLatch     = 0x14 // OLAT: what an output drives
)

// mcp23017Line is one pin of the part.
type mcp23017Line struct {
	*i2c.Part
	port int
	bit  byte
	pull gpio.Pull
	poll time.Duration
}

// configure makes the pin an input.
func (l *mcp23017Line) configure(ctx context.Context) error {
	return l.Measure(ctx, func() error {
		regs, err := l.registers()
		if err != nil {
			return err
		}
		if err := CheckMCP23017(regs); err != nil {
			return err // do not write to an unknown part
		}
		for _, set := range []struct {
			reg byte
			one bool
		}{{MCPDirection, true}, {MCPPolarity, false}, {mcpPullUp, l.pull == gpio.PullUp}} {
			if err := l.Update(set.reg+byte(l.port),
				func(was byte) byte { return withBit(was, l.bit, set.one) }); err != nil {
				return err
			}
		}
		if regs, err = l.registers(); err != nil {
			return err
		}
		_, err = l.decode(regs)
		return err
	})
}

// Level reads the pin together with its settings. After a power dip the pull-up is off, and the
// level has no meaning.
func (l *mcp23017Line) Level(ctx context.Context) (high bool, err error) {
	err = l.Measure(ctx, func() error {
		regs, err := l.registers()
		if err == nil {
			high, err = l.decode(regs)
		}
		return err
	})
	return high, err
}

// registers reads all registers in one transfer, so that they are consistent.
func (l *mcp23017Line) registers() ([]byte, error) {
	regs := make([]byte, mcpRegisters)
	return regs, l.ReadRegister(MCPDirection, regs)
}

// decode returns the level of the pin, or an error if the pin has lost its settings.
func (l *mcp23017Line) decode(regs []byte) (high bool, err error) {
	if err := CheckMCP23017(regs); err != nil {
		return false, err
	}
	is := func(reg int) bool { return regs[reg+l.port]&l.bit != 0 }
	if !is(MCPDirection) || is(MCPPolarity) || is(mcpPullUp) != (l.pull == gpio.PullUp) {
		return false, errors.New("the pin has lost its settings (has the part's power dipped, or does something else " +
			"write to it?)")
	}
	return is(MCPLevel), nil
}

// CheckMCP23017 returns an error unless the registers are those of an MCP23017 in the mode after
// power-on: IOCON is the same at both addresses, its unimplemented bit 0 reads 0, and neither
// BANK nor SEQOP is set, which would change the addresses of the registers. So it detects other
// parts and a dead bus. regs are the registers from the first on, at least 12.
func CheckMCP23017(regs []byte) error {
	const bank, seqop, unimplemented = 0x80, 0x20, 0x01
	a, b := regs[mcpControl], regs[mcpControl+1]
	if a != b || a&(bank|seqop|unimplemented) != 0 {
		return fmt.Errorf("no MCP23017 as it is after power on (IOCON is 0x%02x and 0x%02x)", a, b)
	}
	return nil
}

// withBit returns was with one bit set or cleared.
func withBit(was, bit byte, one bool) byte {
	if one {
		return was | bit
	}
	return was &^ bit
}

// WaitEdges waits for the poll interval: without the interrupt the part reports no edges.
func (l *mcp23017Line) WaitEdges(ctx context.Context, timeout time.Duration, _ []gpio.Edge) (int, error) {
	_ = host.Sleep(ctx, min(timeout, l.poll))
	return 0, nil
}
