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

// errNotPeriph is a line that periph does not know or cannot set up.
var errNotPeriph = errors.New("not a line of periph's")

// openPeriph opens a line through periph, for its level alone: of an edge periph
// tells neither the time nor how many got lost before it. It takes a set of one
// line, because a set reports errors where a GPIOLine reads low. Periph cannot
// open a line without a name of its own, a chip that came after the start, or a
// line with its bias switched off (it leaves the last one on).
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

// errnoOf finds the errno that periph has made a text of.
func errnoOf(err error) error {
	const last = 133 // EHWPOISON
	for e := syscall.Errno(1); err != nil && e <= last; e++ {
		if strings.HasSuffix(err.Error(), e.Error()) {
			return e
		}
	}
	return err
}

// InitPeriph makes periph look at the GPIO chips, once for the process. Only
// gpioioctl is imported, not periph's host, which would map a Pi 5's registers
// wrongly.
//
// Where one chip has two files, as on a Pi 5, periph closes the second twice and
// file 0 with it (periph.io/x/host issue 70); and it takes file 0 for none. So
// this comes before other files are opened, and puts file 0 back.
var InitPeriph = sync.OnceFunc(func() {
	keepStdin(func() {
		withoutGPIOLog(func() {
			_, _ = driverreg.Init() // what it could not open, chips() says better
		})
	})
})

// keepStdin puts file 0 back if do closes it.
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

// withoutGPIOLog keeps periph's own remarks about GPIO out of the log while do runs.
func withoutGPIOLog(do func()) {
	out := log.Writer()
	log.SetOutput(withoutGPIO{out})
	defer log.SetOutput(out)
	do()
}

// withoutGPIO is a log without lines about GPIO.
type withoutGPIO struct{ io.Writer }

// Write drops a line about GPIO: [Chips] says the same with a hint, and only when a pin
// is wanted.
func (w withoutGPIO) Write(line []byte) (int, error) {
	if strings.Contains(strings.ToLower(string(line)), "gpio") {
		return len(line), nil
	}
	return w.Writer.Write(line)
}
