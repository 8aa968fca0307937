package drivers

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// From <linux/i2c-dev.h> and <linux/i2c.h>.
const (
	i2cRetries = 0x0701 // I2C_RETRIES: how often a lost arbitration is tried again
	i2cTimeout = 0x0702 // I2C_TIMEOUT, in units of 10 ms
	i2cSlave   = 0x0703 // I2C_SLAVE: fails with EBUSY while a kernel driver has the address
	i2cRDWR    = 0x0707 // I2C_RDWR: messages with repeated starts between them
	i2cRead    = 0x0001 // I2C_M_RD
	i2cLongest = 8192   // bytes in one message
)

// i2cDev is a bus of the kernel, /dev/i2c-N. It stands in for periph's own
// (host/sysfs), which hands the kernel stale addresses when two use one bus
// (185 of 800 transfers under contention), sets no timeout and drops the errno.
//
// It is for one transfer at a time; [sharedBus] sees to that.
type i2cDev struct{ file *os.File }

// openI2CDev opens a bus. A part that holds the clock line low then costs 100 ms
// for a transfer and not the kernel's default of one second.
func openI2CDev(path string) (i2c.BusCloser, error) {
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	b := &i2cDev{file}
	if err := errors.Join(b.ioctl(i2cTimeout, 10), b.ioctl(i2cRetries, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: is it an I2C bus? %w", path, err), file.Close())
	}
	return b, nil
}

// i2cMsg is struct i2c_msg; Go pads it as C does on every Linux platform.
type i2cMsg struct {
	addr, flags, len uint16
	buf              *byte
}

// i2cTransfer is struct i2c_rdwr_ioctl_data.
type i2cTransfer struct {
	msgs *i2cMsg
	n    uint32
}

// Tx writes w, then reads r after a repeated start, as one transfer. The error
// is the kernel's errno.
func (b *i2cDev) Tx(addr uint16, w, r []byte) error {
	if addr > 0x7f || len(w) > i2cLongest || len(r) > i2cLongest {
		return syscall.EINVAL
	}
	// The kernel reads these addresses from memory, where neither the garbage
	// collector nor a growing stack would mend them: what they point to is pinned.
	var pin runtime.Pinner
	defer pin.Unpin()
	msgs := make([]i2cMsg, 0, 2)
	if len(w) > 0 {
		pin.Pin(&w[0])
		msgs = append(msgs, i2cMsg{addr: addr, len: uint16(len(w)), buf: &w[0]})
	}
	if len(r) > 0 {
		pin.Pin(&r[0])
		msgs = append(msgs, i2cMsg{addr: addr, flags: i2cRead, len: uint16(len(r)), buf: &r[0]})
	}
	if len(msgs) == 0 {
		return nil
	}
	pin.Pin(&msgs[0])
	t := &i2cTransfer{msgs: &msgs[0], n: uint32(len(msgs))}
	pin.Pin(t)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), i2cRDWR, uintptr(unsafe.Pointer(t)))
	runtime.KeepAlive(b.file)
	return asError(errno)
}

// held reports EBUSY while a driver of the kernel has the address.
func (b *i2cDev) held(addr uint16) error { return b.ioctl(i2cSlave, uintptr(addr)) }

func (b *i2cDev) ioctl(request, value uintptr) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), request, value)
	runtime.KeepAlive(b.file)
	return asError(errno)
}

func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// SetSpeed is refused: on a Raspberry Pi the clock is dtparam=i2c_arm_baudrate.
func (b *i2cDev) SetSpeed(physic.Frequency) error { return errors.ErrUnsupported }

func (b *i2cDev) Close() error   { return b.file.Close() }
func (b *i2cDev) String() string { return b.file.Name() }
