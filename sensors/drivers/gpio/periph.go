package gpio

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"
)

// errNotPeriph means that periph cannot open the line.
var errNotPeriph = errors.New("not a line of periph's")

// openPeriph opens a line through periph for its level only: periph reports neither the time of
// an edge nor the number of lost ones. It uses a LineSet of one line, because it returns errors,
// while a GPIOLine reads low. Periph cannot open a line without a name, a chip that was added
// after the start, or a line with the bias off (it would keep the last bias).
func openPeriph(at Place, pull Pull) (Leveler, error) {
	InitPeriph()
	bias := gpio.PullUp
	if pull == PullDown {
		bias = gpio.PullDown
	}
	for _, c := range gpioioctl.Chips {
		l := c.ByName(at.line().Name)
		if c.Name() != at.Name || l == nil || l.Name() == "" || l.Number() != at.Offset || pull == PullOff {
			continue
		}
		set, err := c.LineSet(gpioioctl.LineInput, gpio.NoEdge, bias, l.Name())
		if err != nil {
			return nil, err
		}
		return periphLine{set}, nil
	}
	return nil, errNotPeriph
}

// periphLine is a line of periph.
type periphLine struct{ set *gpioioctl.LineSet }

// Level reads the one line of the set.
func (l periphLine) Level(context.Context) (bool, error) {
	bits, err := l.set.Read(1)
	return bits&1 != 0, errnoOf(err)
}

// Close gives the line back to the kernel.
func (l periphLine) Close() error { return l.set.Close() }

// errnoOf returns the errno whose text ends an error of periph, which loses the errno itself.
func errnoOf(err error) error {
	const last = 133 // EHWPOISON
	for e := syscall.Errno(1); err != nil && e <= last; e++ {
		if strings.HasSuffix(err.Error(), e.Error()) {
			return e
		}
	}
	return err
}

// InitPeriph makes periph read the GPIO chips, once per process. Only gpioioctl is imported, not
// periph's package host, which would map the registers of a Pi 5 wrongly.
//
// If one chip has two device files, as on a Pi 5, periph closes the second one twice, and file
// descriptor 0 with it (periph.io/x/host issue 70). It also takes descriptor 0 for "not open". So
// InitPeriph must run before other files are opened, and restores descriptor 0.
var InitPeriph = sync.OnceFunc(func() {
	keepStdin(func() {
		withoutGPIOLog(func() {
			_, _ = driverreg.Init() // ignored: Chips gives better errors
		})
	})
})

// keepStdin restores file descriptor 0 if do closes it.
func keepStdin(do func()) {
	saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		defer unix.Close(saved)
	}
	do()
	if _, open := unix.FcntlInt(0, unix.F_GETFD, 0); open == nil {
		return
	}
	if err == nil {
		_ = unix.Dup3(saved, 0, 0) // cannot fail: saved is open
		return
	}
	_, _ = unix.Open(os.DevNull, unix.O_RDWR, 0) // takes the lowest free number, 0
}

// withoutGPIOLog drops periph's log lines about GPIO while do runs.
func withoutGPIOLog(do func()) {
	out := log.Writer()
	log.SetOutput(withoutGPIO{out})
	defer log.SetOutput(out)
	do()
}

// withoutGPIO drops log lines about GPIO.
type withoutGPIO struct{ io.Writer }

// Write drops a line about GPIO: [Chips] reports the same with a hint, and only if a pin is used.
func (w withoutGPIO) Write(line []byte) (int, error) {
	if strings.Contains(strings.ToLower(string(line)), "gpio") {
		return len(line), nil
	}
	return w.Writer.Write(line)
}
