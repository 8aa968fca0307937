package gpio

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Place is where a pin is.
type Place struct {
	Chip
	Offset int
}

// String returns chip and offset, such as "gpiochip0/17", which is also a valid pin.
func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Name, p.Offset) }

// line returns the information on the line from when the chip was read.
func (p Place) line() LineInfo { return p.Lines[p.Offset] }

// Open opens a pin as an input, on the chip on which it was found first. The error says what the
// user can do.
func Open(h *host.Host, pin Pin, want Request) (Line, error) {
	at, err := locate(h, pin)
	if err != nil {
		return nil, err
	}
	l, err := at.open(want)
	if err != nil {
		return nil, fmt.Errorf("%v (%v): %w", pin, at, at.explain(err))
	}
	return l, nil
}

// open opens a line and its edges: see [openKernel]. If the line cannot report edges, its level is
// polled through periph, or through the kernel if periph cannot open it: see [openPeriph].
func (p Place) open(want Request) (Line, error) {
	l, err := openKernel(p, want)
	switch {
	case err == nil:
		return l, nil
	case !noInterrupt(err):
		return nil, err
	case want.Edges != BothEdges:
		return nil, fmt.Errorf("it announces no edges, and pulses cannot be counted without: %w", err)
	}
	if l, err := openPeriph(p, want.Pull); err == nil {
		return PolledLine{l}, nil
	}
	level, err := openLevel(p, want.Pull) // its error has the errno, which periph loses
	if err != nil {
		return nil, err
	}
	return PolledLine{level}, nil
}

// explain adds to EBUSY which program holds the line.
func (p Place) explain(err error) error {
	holder := p.line().Consumer
	switch {
	case !errors.Is(err, syscall.EBUSY):
		return err
	case strings.HasSuffix(holder, fmt.Sprint("@", os.Getpid())):
		return fmt.Errorf("%w: another sensor of this agent has it", err)
	case holder != "":
		return fmt.Errorf("%w: held by %q: stop that, or use another pin", err, holder)
	}
	return fmt.Errorf("%w: see who holds it with gpioinfo, or use another pin", err)
}
