// Package tinyusb simulates the i2c-tiny-usb, Till Harbaum's USB-to-I2C adapter, with a
// simulated bus. Its Linux driver passes messages on unchanged, including messages of zero
// length and missing acknowledges; programs see an ordinary /dev/i2c-N.
package tinyusb

import (
	"encoding/binary"

	"github.com/holdfast-iot/holdfast/build/rig/i2csim"
	"github.com/holdfast-iot/holdfast/build/rig/usbredir"
)

// Requests and states, drivers/i2c/busses/i2c-tiny-usb.c.
const (
	cmdEcho      = 0
	cmdFunctions = 1
	cmdDelay     = 2
	cmdStatus    = 3
	cmdIO        = 4 // to 7: plus 1 for the first message, plus 2 for the last

	acknowledged    = 1
	notAcknowledged = 2
)

// functions are I2C_FUNC_I2C and I2C_FUNC_SMBUS_EMUL of linux/i2c.h, as firmware 2.05
// reports them.
const functions uint32 = 0x00000001 | 0x0eff0000

// An Adapter is the USB device. It serves one connection at a time.
type Adapter struct {
	bus    *i2csim.Bus
	status byte // of the last message
}

// New returns an adapter for a bus.
func New(bus *i2csim.Bus) *Adapter { return &Adapter{bus: bus} }

// Identity is that of the original device, which the kernel's driver looks for.
func (*Adapter) Identity() usbredir.Identity {
	return usbredir.Identity{
		Vendor: 0x0403, Product: 0xc631, Release: 0x0205,
		Strings: [3]string{"holdfast rig", "i2c-tiny-usb", "1"},
	}
}

// Control is one step of a transfer: a message, or the query of its result.
func (a *Adapter) Control(s usbredir.Setup, data []byte) ([]byte, error) {
	switch s.Request {
	case cmdEcho:
		return binary.LittleEndian.AppendUint16(nil, s.Value), nil
	case cmdFunctions:
		return binary.LittleEndian.AppendUint32(nil, functions), nil
	case cmdDelay:
		return nil, nil
	case cmdStatus:
		return []byte{a.status}, nil
	case cmdIO, cmdIO + 1, cmdIO + 2, cmdIO + 3:
		return a.message(s, data), nil
	}
	return nil, usbredir.ErrStall
}

func (a *Adapter) message(s usbredir.Setup, data []byte) (in []byte) {
	address := byte(s.Index)
	var err error
	if s.In() {
		in = make([]byte, s.Length)
		err = a.bus.Read(address, in)
	} else {
		err = a.bus.Write(address, data)
	}
	a.status = acknowledged
	if err != nil {
		a.status = notAcknowledged
	}
	return in
}
