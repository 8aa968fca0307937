package drivers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"periph.io/x/conn/v3/physic"
)

// I2CBus is the number of an I2C bus: 1 is /dev/i2c-1, on the pins 3 and 5.
type I2CBus int

func (b I2CBus) String() string { return "i2c-" + strconv.Itoa(int(b)) }

// UnmarshalText takes `1`, `i2c-1` and `/dev/i2c-1`.
func (b *I2CBus) UnmarshalText(text []byte) error {
	digits := strings.TrimPrefix(strings.TrimPrefix(string(text), "/dev/"), "i2c-")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no I2C bus: write its number, as in i2c: \"1\"", text)
	}
	*b = I2CBus(n)
	return nil
}

// onI2C are the options of every part on an I2C bus; a kind's own options embed
// them.
type onI2C struct {
	I2C     I2CBus `yaml:"i2c" doc:"the bus: 1 is /dev/i2c-1, on pins 3 and 5"`
	Address uint16 `yaml:"address" doc:"on the bus"`

	part  string   // what the addresses are of
	known []uint16 // the addresses that it can have, the default first
}

func newOnI2C(part string, known ...uint16) onI2C {
	return onI2C{I2C: 1, Address: known[0], part: part, known: known}
}

func (o *onI2C) Check() []Problem {
	if slices.Contains(o.known, o.Address) {
		return nil
	}
	var words []string
	for _, a := range o.known {
		words = append(words, fmt.Sprintf("0x%02x", a))
	}
	return []Problem{problem("address", "0x%02x is no address of %s: it has %s", o.Address, o.part, strings.Join(words, ", "))}
}

func (o *onI2C) Claims() []string { return []string{claim(o.I2C, o.Address)} }

// claim names an address on a bus.
func claim(bus I2CBus, addr uint16) string { return fmt.Sprintf("%v 0x%02x", bus, addr) }

// Whole is the claim that another is a part of: the converter's, of one of its
// inputs; empty if there is none.
func Whole(claim string) string {
	if bus, _, ok := strings.Cut(claim, " "); !ok || !strings.HasPrefix(bus, "i2c-") || strings.Count(claim, " ") != 2 {
		return ""
	}
	return claim[:strings.LastIndexByte(claim, ' ')]
}

// mostTransfers bounds one measurement. The parts here need a dozen transfers,
// or three times that where they are asked whether they are done.
const mostTransfers = 64

// part is one part on a bus, as periph's drivers see it: an i2c.Bus that bounds
// each measurement and remembers the real error, which they reword.
type part struct {
	hw   *Hardware
	bus  *sharedBus
	addr uint16

	// Of the measurement under way; see [part.measure].
	ctx   context.Context
	left  int
	err   error
	zeros zeros
}

// openPart opens a part's bus. Nothing is sent yet.
func (h *Hardware) openPart(bus I2CBus, addr uint16) (*part, error) {
	shared, err := h.acquire(bus)
	if err != nil {
		return nil, err
	}
	p := &part{hw: h, bus: shared, addr: addr}
	if err := shared.held(addr); err != nil {
		return nil, errors.Join(p.explain(err), p.Close())
	}
	return p, nil
}

// measure runs what needs transfers: under ctx, and with a bounded number of
// them. The first transfer that fails is the error, and the last one made.
func (p *part) measure(ctx context.Context, do func() error) error {
	p.ctx, p.left, p.err, p.zeros = ctx, mostTransfers, nil, zeros{}
	err := do()
	if (err != nil || p.err != nil) && p.zeros.all() {
		p.bus.silent(ctx, p.addr)
	}
	if p.err != nil {
		return p.err
	}
	if err != nil {
		return p.explain(err)
	}
	return nil
}

// command sends bytes to the part: a command, or a register and its value.
func (p *part) command(w ...byte) error { return p.Tx(p.addr, w, nil) }

// try sends a command that the part may refuse without harm.
func (p *part) try(w ...byte) {
	if p.err == nil && p.command(w...) != nil {
		p.err = nil
	}
}

// register reads from a register, or the answer to a command of one byte that
// comes at once.
func (p *part) register(reg byte, r []byte) error { return p.Tx(p.addr, []byte{reg}, r) }

// fetch reads without a command before it.
func (p *part) fetch(r []byte) error { return p.Tx(p.addr, nil, r) }

// pause waits while the part works, unless the measurement is to end. Its
// error counts as a transfer's.
func (p *part) pause(d time.Duration) error {
	err := host.Sleep(p.ctx, d)
	if err == nil {
		return nil
	}
	if p.err == nil {
		p.err = p.explain(err)
	}
	return p.err
}

// Tx implements i2c.Bus.
func (p *part) Tx(addr uint16, w, r []byte) error {
	if p.err == nil {
		p.err = p.transfer(addr, w, r)
	}
	return p.err
}

func (p *part) transfer(addr uint16, w, r []byte) error {
	if p.left--; p.left < 0 {
		return p.explain(fmt.Errorf("not ready after %d transfers (is something pulling the bus?)", mostTransfers))
	}
	err := p.bus.transfer(p.ctx, addr, w, r)
	if p.zeros.see(err, r); err != nil {
		return p.explain(err)
	}
	return nil
}

// explain says where an error happened: `i2c-1 0x38: no acknowledge`.
func (p *part) explain(err error) error {
	if busy := (*busyError)(nil); errors.As(err, &busy) {
		return err // it is another's fault
	}
	return &partError{fmt.Sprintf("%s 0x%02x: ", p.bus, p.addr), err}
}

// SetSpeed implements i2c.Bus; a part does not set the speed of its bus.
func (p *part) SetSpeed(physic.Frequency) error { return errors.ErrUnsupported }

func (p *part) String() string { return p.bus.String() }

// Close lets go of the bus.
func (p *part) Close() error { return p.hw.release(p.bus) }

// partError is an error of a part, with the kernel's fault codes in the words of
// a person at the wiring.
type partError struct {
	where string
	err   error
}

func (e *partError) Unwrap() error { return e.err }

func (e *partError) Error() string {
	for errno, words := range i2cFaults {
		if errors.Is(e.err, errno) {
			return e.where + words
		}
	}
	return e.where + e.err.Error()
}

// i2cFaults are the kernel's Documentation/i2c/fault-codes.rst, put shortly.
var i2cFaults = map[syscall.Errno]string{
	syscall.EREMOTEIO: "no acknowledge",
	syscall.ETIMEDOUT: "timed out (is a part holding the bus low?)",
	syscall.EAGAIN:    "lost arbitration (is a part holding the bus low?)",
	syscall.EBUSY:     "a driver of the kernel has this address: remove its dtoverlay from config.txt",
}
