package i2c

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"periph.io/x/conn/v3/i2c"
)

// From <linux/i2c-dev.h> and <linux/i2c.h>.
const (
	ioctlFuncs = 0x0705 // I2C_FUNCS: what the adapter can do
	ioctlSMBus = 0x0720 // I2C_SMBUS: one SMBus transaction

	// Bits of [Prober.Functions].
	FuncI2C      = 0x00000001 // I2C_FUNC_I2C: plain messages, which every kind here needs
	FuncQuick    = 0x00010000 // I2C_FUNC_SMBUS_QUICK
	FuncReadByte = 0x00020000 // I2C_FUNC_SMBUS_READ_BYTE

	smbusWrite, smbusRead = 0, 1
	smbusQuick, smbusByte = 0, 1
)

// A Prober is a bus of the kernel that can be scanned for parts. Only one goroutine at a time
// may use it.
type Prober interface {
	i2c.BusCloser
	// Functions returns the capabilities of the adapter as bits.
	Functions() (uint, error)
	// CheckFree reports EBUSY while a driver of the kernel has the address.
	CheckFree(addr uint16) error
	// Probe returns nil if a part acknowledges the address. It sends the address alone, or
	// reads one byte if read is true.
	Probe(addr uint16, read bool) error
}

// OpenProber opens a bus for a scan. It opens the device file for itself, and does not share it
// with the open parts of the bus.
func (bs *Buses) OpenProber(h *host.Host, bus Bus) (Prober, error) {
	path := filepath.Join(h.Dev, bus.String())
	open := bs.OpenBus
	if open == nil {
		open = openDev
	}
	opened, err := open(path)
	if err != nil {
		return nil, ExplainOpen(h, path, err)
	}
	dev, ok := opened.(Prober)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%v cannot be scanned", bus), opened.Close())
	}
	return dev, nil
}

// smbusTransfer is struct i2c_smbus_ioctl_data; Go pads it as C does on every
// Linux platform.
type smbusTransfer struct {
	readWrite, command uint8
	size               uint32
	data               *[34]byte // union i2c_smbus_data: a block and its length
}

// Functions implements [Prober].
func (b *dev) Functions() (uint, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	can := new(uint) // the kernel's unsigned long
	pin.Pin(can)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), ioctlFuncs, uintptr(unsafe.Pointer(can)))
	runtime.KeepAlive(b.file)
	return *can, asError(errno)
}

// Probe implements [Prober].
func (b *dev) Probe(addr uint16, read bool) error {
	if err := b.CheckFree(addr); err != nil { // I2C_SLAVE also sets the address of the next transaction
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	t := &smbusTransfer{readWrite: smbusWrite, size: smbusQuick, data: new([34]byte)}
	if read {
		t.readWrite, t.size = smbusRead, smbusByte
	}
	pin.Pin(t.data)
	pin.Pin(t)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), ioctlSMBus, uintptr(unsafe.Pointer(t)))
	runtime.KeepAlive(b.file)
	return asError(errno)
}
