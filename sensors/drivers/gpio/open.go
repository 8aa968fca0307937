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

// String is a chip and an offset, which is a pin, too.
func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Name, p.Offset) }

// line is what the kernel said of it when the chip was read.
func (p Place) line() LineInfo { return p.Lines[p.Offset] }

// Open opens a pin as an input, on the chip that it was on when it was first
// opened. The error says how to fix what a person can.
func Open(h *host.Host, pin Pin, want Request) (Line, error) {
	at, err := look(h, pin)
	if err != nil {
		return nil, err
	}
	l, err := at.open(want)
	if err != nil {
		return nil, fmt.Errorf("%v (%v): %w", pin, at, at.explain(err))
	}
	return l, nil
}

// open asks the kernel for a line and its edges: see [openKernel]. The level of a
// line that has none is read through periph, or through the kernel where periph
// cannot: see [openPeriph].
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
	level, err := openLevel(p, want.Pull) // also to learn the errno, which periph drops
	if err != nil {
		return nil, err
	}
	return PolledLine{level}, nil
}

// explain says who holds a line.
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
