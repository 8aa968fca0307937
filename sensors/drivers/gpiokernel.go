package drivers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// openKernel opens a line by chip and offset, with gpiocdev's structures of the
// kernel's interface (linux/gpio.h, version 2). It buys what periph cannot do:
// lines without a name, chips plugged in later, a bias that is switched off,
// lines without an interrupt, and the errno. gpiocdev's own watcher is not used: it
// is a goroutine for each line, and spins once the chip has gone.
func openKernel(at place, pull pull) (line, error) {
	flags := uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth | biasFlag(pull)
	fd, err := requestLine(at, flags)
	if noInterrupt(err) {
		fd, err = requestLine(at, flags&^uapi.LineFlagV2EdgeBoth)
		if err == nil {
			return polledLine{kernelLine{fd, os.NewFile(uintptr(fd), at.String())}}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return kernelLine{fd, os.NewFile(uintptr(fd), at.String())}, nil // non-blocking: it takes deadlines
}

func biasFlag(pull pull) uapi.LineFlagV2 {
	switch pull {
	case pullUp:
		return uapi.LineFlagV2BiasPullUp
	case pullDown:
		return uapi.LineFlagV2BiasPullDown
	}
	return uapi.LineFlagV2BiasDisabled
}

// noInterrupt reports what the kernel says of a line that cannot announce edges,
// such as one of an I2C expander whose INT is not wired; which one differs between
// kernels.
func noInterrupt(err error) bool {
	return errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}

func requestLine(at place, flags uapi.LineFlagV2) (fd int, err error) {
	file, err := os.Open(at.path)
	if err != nil {
		return -1, err
	}
	defer file.Close()
	request := uapi.LineRequest{Lines: 1, Config: uapi.LineConfig{Flags: flags}}
	request.Offsets[0] = uint32(at.offset)
	copy(request.Consumer[:len(request.Consumer)-1], consumer())
	if err := uapi.GetLine(file.Fd(), &request); err != nil {
		return -1, err
	}
	return int(request.Fd), nil
}

// consumer is what gpioinfo shows as the holder of our lines, as periph writes it.
func consumer() string {
	return fmt.Sprintf("%.20s@%d", filepath.Base(os.Args[0]), os.Getpid())
}

// kernelLine is a line of the kernel's interface.
type kernelLine struct {
	fd   int // file's; asking file for it would make it blocking
	file *os.File
}

func (l kernelLine) level() (bool, error) {
	values := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(uintptr(l.fd), &values)
	return values.Get(0) != 0, err
}

func (l kernelLine) wait(timeout time.Duration) (bool, error) {
	if err := l.file.SetReadDeadline(time.Now().Add(max(timeout, time.Millisecond))); err != nil {
		return false, err
	}
	var events [16 * 48]byte // the kernel keeps 16 events of a line; struct gpio_v2_line_event
	_, err := l.file.Read(events[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

func (l kernelLine) Close() error { return l.file.Close() }

// polledLine is a line that announces no edges.
type polledLine struct{ kernelLine }

const pollWait = 20 * time.Millisecond // short against a debounce of 50 ms

func (l polledLine) wait(timeout time.Duration) (bool, error) {
	time.Sleep(min(max(timeout, time.Millisecond), pollWait))
	return false, nil
}
