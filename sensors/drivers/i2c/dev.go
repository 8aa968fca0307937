package i2c

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
	ioctlRetries = 0x0701 // I2C_RETRIES: how often a lost arbitration is tried again
	ioctlTimeout = 0x0702 // I2C_TIMEOUT, in units of 10 ms
	ioctlSlave   = 0x0703 // I2C_SLAVE: fails with EBUSY while a kernel driver has the address
	ioctlRDWR    = 0x0707 // I2C_RDWR: messages with repeated starts between them
	flagRead     = 0x0001 // I2C_M_RD
	maxMessage   = 8192   // bytes in one message
)

// dev is a bus of the kernel, /dev/i2c-N. It replaces periph's own (host/sysfs), which uses
// wrong addresses when two goroutines use one bus (185 of 800 transfers under contention), sets
// no timeout and loses the errno.
//
// It allows one transfer at a time; [sharedBus] ensures that.
type dev struct{ file *os.File }

// openDev opens a bus. It sets a timeout of 100 ms in place of the kernel's one second, for
// parts that hold the clock line low.
func openDev(path string) (i2c.BusCloser, error) {
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	b := &dev{file}
	if err := errors.Join(b.ioctl(ioctlTimeout, 10), b.ioctl(ioctlRetries, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: is it an I2C bus? %w", path, err), file.Close())
	}
	return b, nil
}

// message is struct i2c_msg; Go pads it as C does on every Linux platform.
type message struct {
	addr, flags, len uint16
	buf              *byte
}

// rdwrData is struct i2c_rdwr_ioctl_data.
type rdwrData struct {
	msgs *message
	n    uint32
}

// Tx writes w, then reads r after a repeated start, as one transfer. The error
// is the kernel's errno.
func (b *dev) Tx(addr uint16, w, r []byte) error {
	if addr > 0x7f || len(w) > maxMessage || len(r) > maxMessage {
		return syscall.EINVAL
	}
	// The structures for the kernel contain pointers as plain memory: pin what they point to, so
	// that neither the garbage collector nor a growing stack moves it.
	var pin runtime.Pinner
	defer pin.Unpin()
	msgs := make([]message, 0, 2)
	if len(w) > 0 {
		pin.Pin(&w[0])
		msgs = append(msgs, message{addr: addr, len: uint16(len(w)), buf: &w[0]})
	}
	if len(r) > 0 {
		pin.Pin(&r[0])
		msgs = append(msgs, message{addr: addr, flags: flagRead, len: uint16(len(r)), buf: &r[0]})
	}
	if len(msgs) == 0 {
		return nil
	}
	pin.Pin(&msgs[0])
	t := &rdwrData{msgs: &msgs[0], n: uint32(len(msgs))}
	pin.Pin(t)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), ioctlRDWR, uintptr(unsafe.Pointer(t)))
	runtime.KeepAlive(b.file)
	return asError(errno)
}

// CheckFree reports EBUSY while a driver of the kernel has the address.
func (b *dev) CheckFree(addr uint16) error { return b.ioctl(ioctlSlave, uintptr(addr)) }

func (b *dev) ioctl(request, value uintptr) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, b.file.Fd(), request, value)
	runtime.KeepAlive(b.file)
	return asError(errno)
}

// asError converts an errno to an error. Errno 0 as an interface would not be nil.
func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// SetSpeed is not supported: on a Raspberry Pi, dtparam=i2c_arm_baudrate sets the clock.
func (b *dev) SetSpeed(physic.Frequency) error { return errors.ErrUnsupported }

func (b *dev) Close() error   { return b.file.Close() }
func (b *dev) String() string { return b.file.Name() }
