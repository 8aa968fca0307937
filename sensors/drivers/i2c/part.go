package i2c

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A Bus is the number of an I2C bus: 1 is /dev/i2c-1, on the pins 3 and 5.
type Bus int

func (b Bus) String() string { return "i2c-" + strconv.Itoa(int(b)) }

// UnmarshalText takes `1`, `i2c-1` and `/dev/i2c-1`.
func (b *Bus) UnmarshalText(text []byte) error {
	digits := strings.TrimPrefix(strings.TrimPrefix(string(text), "/dev/"), "i2c-")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a valid I2C bus: write its number, as in i2c: \"1\"", text)
	}
	*b = Bus(n)
	return nil
}

// MaxTransfers bounds one measurement. The parts here need a dozen transfers,
// or three times that where they are asked whether they are done.
const MaxTransfers = 64

// A Part is one part on a bus. It bounds each measurement and keeps the first error of
// its transfers: all that follow return it, so that a kind may check once at the end.
//
// It has no exported Tx, as periph's i2c.Bus does: the linker would keep a copy of it for
// each type that embeds a Part.
type Part struct {
	bus  *sharedBus
	addr uint16

	// Of the measurement under way; see [Part.Measure], which sets them anew. The
	// context is a field because each transfer of a measurement has the same.
	ctx   context.Context
	left  int   // transfers that it may still make
	err   error // the first one; every later transfer returns it
	zeros zeros // what was read
}

// Open opens the bus of a part, or joins those who have it open. Nothing is sent yet.
// An address that a driver of the kernel has is an error.
func (bs *Buses) Open(h *host.Host, bus Bus, addr uint16) (*Part, error) {
	shared, err := bs.acquire(h, bus)
	if err != nil {
		return nil, err
	}
	p := &Part{bus: shared, addr: addr}
	if err := shared.checkFree(addr); err != nil {
		return nil, errors.Join(p.Explain(err), p.Close())
	}
	return p, nil
}

// Measure calls do, whose transfers end with ctx and are bounded in number. The first
// transfer that fails is the error, and the last one made.
//
// A measurement that failed and read nothing but zeros counts against the bus: see
// recovery.go.
func (p *Part) Measure(ctx context.Context, do func() error) error {
	p.ctx, p.left, p.err, p.zeros = ctx, MaxTransfers, nil, zeros{}
	err := do()
	// Zeros alone are no error of the bus: a part may have them. Zeros that the kind
	// refused are how a bus looks whose SDA is held low.
	if (err != nil || p.err != nil) && p.zeros.all() {
		p.bus.recordSilence(ctx, p.addr)
	}
	if p.err != nil {
		return p.err
	}
	if err != nil {
		return p.Explain(err)
	}
	return nil
}

// Command sends bytes to the part: a command, or a register and its value.
func (p *Part) Command(w ...byte) error { return p.tx(p.addr, w, nil) }

// TryCommand sends a command that the part may refuse without harm.
func (p *Part) TryCommand(w ...byte) {
	if p.err == nil && p.Command(w...) != nil {
		p.err = nil
	}
}

// ReadRegister reads from a register, or the answer to a command of one byte that
// comes at once.
func (p *Part) ReadRegister(reg byte, r []byte) error { return p.tx(p.addr, []byte{reg}, r) }

// Receive reads without a command before it.
func (p *Part) Receive(r []byte) error { return p.tx(p.addr, nil, r) }

// CheckSDAHigh makes sure that zeros were sent and are not those of an SDA that is
// held low: then every address acknowledges and reads 0x00, also one that no part
// may acknowledge, a master code of the high-speed mode (UM10204, 5.3). It is for a
// part for which zeros are a value.
func (p *Part) CheckSDAHigh() error {
	const masterCode = 0x05
	err := p.bus.transfer(p.ctx, masterCode, nil, make([]byte, 1))
	switch {
	case err == nil:
		return errors.New("reads only 0x00, and so does every address (is something holding the bus low?)")
	case p.ctx.Err() != nil, AdapterGone(err):
		return err
	}
	return nil // nobody acknowledged: SDA was high
}

// Pause waits while the part works, or until the context of the measurement ends. Its
// error counts as a transfer's.
func (p *Part) Pause(d time.Duration) error {
	err := host.Sleep(p.ctx, d)
	if err == nil {
		return nil
	}
	if p.err == nil {
		p.err = p.Explain(err)
	}
	return p.err
}

// tx writes w, then reads r after a repeated start. It does nothing after an error.
func (p *Part) tx(addr uint16, w, r []byte) error {
	if p.err == nil {
		p.err = p.transfer(addr, w, r)
	}
	return p.err
}

func (p *Part) transfer(addr uint16, w, r []byte) error {
	if p.left--; p.left < 0 {
		return p.Explain(fmt.Errorf("not ready after %d transfers (is something pulling the bus?)", MaxTransfers))
	}
	err := p.bus.transfer(p.ctx, addr, w, r)
	if p.zeros.add(err, r); err != nil {
		return p.Explain(err)
	}
	return nil
}

// Explain says where an error happened: `i2c-1 0x38: no acknowledge`.
func (p *Part) Explain(err error) error {
	if busy := (*busyError)(nil); errors.As(err, &busy) {
		return err // it names the part that holds the bus
	}
	return &partError{fmt.Sprintf("%s 0x%02x: ", p.bus, p.addr), err}
}

// String is the bus, as the configuration calls it.
func (p *Part) String() string { return p.bus.String() }

// Close lets go of the bus.
func (p *Part) Close() error { return p.bus.buses.release(p.bus) }

// partError is an error of a part, with the kernel's fault codes in the words of
// a person at the wiring.
type partError struct {
	where string
	err   error
}

func (e *partError) Unwrap() error { return e.err }

func (e *partError) Error() string {
	// At most one matches: an error has one errno.
	for errno, words := range faults {
		if errors.Is(e.err, errno) {
			return e.where + words
		}
	}
	return e.where + e.err.Error()
}

// faults are the kernel's Documentation/i2c/fault-codes.rst, in a person's words.
var faults = map[syscall.Errno]string{
	syscall.EREMOTEIO: "no acknowledge",
	syscall.ETIMEDOUT: "timed out (is a part holding the bus low?)",
	syscall.EAGAIN:    "lost arbitration (is a part holding the bus low?)",
	syscall.EBUSY:     "a driver of the kernel has this address: remove its dtoverlay from config.txt",
}

// ReadWord reads a register of 16 bits, the high byte first.
func (p *Part) ReadWord(reg byte) (uint16, error) {
	var r [2]byte
	err := p.ReadRegister(reg, r[:])
	return uint16(r[0])<<8 | uint16(r[1]), err
}

// WriteWord writes a register of 16 bits, the high byte first.
func (p *Part) WriteWord(reg byte, value uint16) error {
	return p.Command(reg, byte(value>>8), byte(value))
}
