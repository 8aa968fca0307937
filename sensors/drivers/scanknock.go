package drivers

import (
	"runtime"
	"syscall"
	"unsafe"

	"periph.io/x/conn/v3/i2c"
)

// From <linux/i2c-dev.h> and <linux/i2c.h>.
const (
	i2cFuncs = 0x0705 // I2C_FUNCS: what the adapter can do
	i2cSMBus = 0x0720 // I2C_SMBUS: one SMBus transaction

	funcI2C   = 0x00000001 // I2C_FUNC_I2C: plain messages, which every kind here needs
	funcQuick = 0x00010000 // I2C_FUNC_SMBUS_QUICK
	funcRead  = 0x00020000 // I2C_FUNC_SMBUS_READ_BYTE

	smbusWrite, smbusRead = 0, 1
	smbusQuick, smbusByte = 0, 1
)

// prober is a bus that can be looked over: the kernel's.
type prober interface {
	i2c.BusCloser
	funcs() (uint, error)
	// held reports EBUSY while a driver of the kernel has the address.
	held(addr uint16) error
	// knock asks whether a part is at an address: by an address with nothing
	// behind it, or by reading one byte.
	knock(addr uint16, read bool) error
}

// smbusTransfer is struct i2c_smbus_ioctl_data; Go pads it as C does on every
// Linux platform.
type smbusTransfer struct {
	readWrite, command uint8
	size               uint32
	data               *[34]byte // union i2c_smbus_data: a block and its length
}

func (b *i2cDev) funcs() (uint, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	can := new(uint) // the kernel's unsigned long
	pin.Pin(can)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), i2cFuncs, uintptr(unsafe.Pointer(can)))
	runtime.KeepAlive(b.file)
	return *can, asError(errno)
}

func (b *i2cDev) knock(addr uint16, read bool) error {
	if err := b.held(addr); err != nil { // it also says which address the next transaction is for
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
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), i2cSMBus, uintptr(unsafe.Pointer(t)))
	runtime.KeepAlive(b.file)
	return asError(errno)
}
