package modbus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/simonvetter/modbus"
)

// A RegisterError is an error of one register only: the unit answered with a Modbus exception, or
// with a value that is not a number.
type RegisterError struct {
	bus  string
	unit byte
	reg  Register
	why  string
}

func (e *RegisterError) Error() string {
	return fmt.Sprintf("%s: unit %d, %v: %s", e.bus, e.unit, e.reg, e.why)
}

// refusals are the exceptions that concern only one request, with what to do.
var refusals = map[modbus.Error]string{
	modbus.ErrIllegalFunction: "the unit has no such table: its manual says whether this is a holding " +
		"register, an input register, a coil or a discrete input",
	modbus.ErrIllegalDataAddress: "the unit has nothing at this address: addresses count from 0, so that the " +
		"manual's 40001 or 30001 is address 0",
	modbus.ErrIllegalDataValue:    "the unit does not give out this many registers from here: its manual says the type",
	modbus.ErrServerDeviceFailure: "the unit says that it has failed (exception 4)",
	modbus.ErrAcknowledge:         "the unit needs longer for this (exception 5)",
	modbus.ErrServerDeviceBusy:    "the unit is busy (exception 6)",
	modbus.ErrMemoryParityError:   "the unit's memory is damaged (exception 8)",
}

// explain adds to the error of a request what the user can do.
func (b *Bus) explain(err error, unit byte) error {
	at := fmt.Sprintf("%s: unit %d", b.settings.Name(), unit)
	garbled := errors.Is(err, modbus.ErrBadCRC) || errors.Is(err, modbus.ErrShortFrame) ||
		errors.Is(err, modbus.ErrProtocolError) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, modbus.ErrRequestTimedOut) && b.settings.Device != "":
		return fmt.Errorf("%s does not answer in %v: check that it has this unit_id and is set to %v, and that "+
			"A and B are not swapped", at, b.settings.Timeout, b.settings.Line)
	case errors.Is(err, modbus.ErrRequestTimedOut), errors.Is(err, modbus.ErrGWTargetFailedToRespond),
		errors.Is(err, modbus.ErrGWPathUnavailable):
		return fmt.Errorf("%s does not answer in %v: check its unit_id (%w)", at, b.settings.Timeout, err)
	case errors.Is(err, modbus.ErrBadUnitId):
		return fmt.Errorf("%s: another unit answers: no two units may have one unit_id", at)
	case garbled && b.settings.Device != "":
		return fmt.Errorf("%s: the answer is garbled (%w): check that it is set to %v, that no two units have one "+
			"unit_id, and the terminating resistors", at, err, b.settings.Line)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: the host closes the connection: it may take no more clients", at)
	}
	return fmt.Errorf("%s: %w", at, err)
}

// explainOpen adds to the error of a connection what the user can do.
func (b *Bus) explainOpen(err error) error {
	switch {
	case b.settings.Device == "":
		return err // net names the address
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: ls /dev/serial/by-id shows the adapters that are plugged in", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: join the group that may: sudo usermod -aG dialout %s, then start again",
			err, host.UserName())
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: the service sees no serial lines until its unit says so: docs/install.md has the lines", err)
	case errors.Is(err, syscall.ENOTTY):
		return fmt.Errorf("%s is not a serial line: write e.g. /dev/ttyUSB0", b.settings.Device)
	}
	return fmt.Errorf("%s: %w", b.settings.Device, err)
}
