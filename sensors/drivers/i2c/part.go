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

// UnmarshalText parses `1`, `i2c-1` and `/dev/i2c-1`.
func (b *Bus) UnmarshalText(text []byte) error {
	digits := strings.TrimPrefix(strings.TrimPrefix(string(text), "/dev/"), "i2c-")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a valid I2C bus: write its number, as in i2c: \"1\"", text)
	}
	*b = Bus(n)
	return nil
}

// MaxTransfers bounds the transfers of one measurement. The drivers need about 12, or 36 if they
// poll the part for the end of a measurement.
const MaxTransfers = 64

// A Part is one part on a bus. It bounds the transfers of each measurement. After the first
// failed transfer, all later ones return its error, so that a driver may check once at the end.
//
// Unlike periph's i2c.Bus it has no exported Tx: the linker would keep a copy of that method for
// each type that embeds a Part.
type Part struct {
	bus  *sharedBus
	addr uint16

	// State of the current measurement, which [Part.Measure] resets. The context is a field
	// because all transfers of a measurement have the same one.
	ctx   context.Context
	left  int   // transfers that it may still make
	err   error // the first one; every later transfer returns it
	zeros zeros // whether only zeros were read
}

// Open opens a part, and its bus if necessary. It sends nothing. If a driver of the kernel uses
// the address, it returns an error.
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

// Measure calls do, whose transfers end with ctx and are limited to MaxTransfers. It returns the
// error of the first transfer that fails, after which no more are made, or else that of do.
//
// A failed measurement that read only zeros counts as a failure of the bus: see recovery.go.
func (p *Part) Measure(ctx context.Context, do func() error) error {
	p.ctx, p.left, p.err, p.zeros = ctx, MaxTransfers, nil, zeros{}
	err := do()
	// Zeros alone are not an error: a part may send them. But zeros that the driver rejected
	// suggest that SDA is held low.
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

// TryCommand sends a command and ignores its error: the part may refuse it.
func (p *Part) TryCommand(w ...byte) {
	if p.err == nil && p.Command(w...) != nil {
		p.err = nil
	}
}

// ReadRegister reads from a register, or the immediate answer to a command of one byte.
func (p *Part) ReadRegister(reg byte, r []byte) error { return p.tx(p.addr, []byte{reg}, r) }

// Receive reads without sending a command first.
func (p *Part) Receive(r []byte) error { return p.tx(p.addr, nil, r) }

// CheckSDAHigh returns an error if SDA is held low. Then every address acknowledges and reads
// 0x00, even one that no part may acknowledge: a master code of the high-speed mode (UM10204,
// 5.3). Drivers call it if zeros are a valid value of their part.
func (p *Part) CheckSDAHigh() error {
	const masterCode = 0x05
	err := p.bus.transfer(p.ctx, masterCode, nil, make([]byte, 1))
	switch {
	case err == nil:
		return errors.New("reads only 0x00, and so does every address (is something holding the bus low?)")
	case p.ctx.Err() != nil, AdapterGone(err):
		return err
	}
	return nil // no acknowledge: SDA was high
}

// Pause waits for d, or until the context of the measurement ends. Its error counts like that
// of a transfer.
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

// String returns the bus with its number in the configuration.
func (p *Part) String() string { return p.bus.String() }

// Close releases the bus.
func (p *Part) Close() error { return p.bus.buses.release(p.bus) }

// partError is an error of a part. Its text replaces the kernel's fault codes by words that help
// with the wiring.
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

// faults explain the codes of the kernel's Documentation/i2c/fault-codes.rst.
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
