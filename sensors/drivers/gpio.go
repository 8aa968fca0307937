package drivers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/warthog618/go-gpiocdev/uapi"
)

// chip is a GPIO chip as the kernel shows it now.
type chip struct {
	path, name, label string
	lines             []lineInfo // by offset
}

type lineInfo struct{ name, consumer string }

// place is where a pin is.
type place struct {
	chip
	offset int
}

func (p place) String() string { return fmt.Sprintf("%s/%d", p.name, p.offset) }
func (p place) line() lineInfo { return p.lines[p.offset] }

// line opens a pin as an input.
func (h *Hardware) line(pin Pin, want request) (line, error) {
	if h.openLine != nil {
		return h.openLine(pin, want)
	}
	chips, broken := h.chips()
	if len(chips) == 0 {
		return nil, fmt.Errorf("%v: %w", pin, broken)
	}
	at, err := h.find(pin, chips)
	if err != nil && broken != nil {
		return nil, fmt.Errorf("%v: %w; and %w", pin, err, broken)
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", pin, err)
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
func (p place) open(want request) (line, error) {
	l, err := openKernel(p, want)
	switch {
	case err == nil:
		return l, nil
	case !noInterrupt(err):
		return nil, err
	case want.edges != bothEdges:
		return nil, fmt.Errorf("it announces no edges, and pulses cannot be counted without: %w", err)
	}
	if l, err := openPeriph(p, want.pull); err == nil {
		return polledLine{l}, nil
	}
	level, err := openLevel(p, want.pull) // also to learn the errno, which periph drops
	if err != nil {
		return nil, err
	}
	return polledLine{level}, nil
}

// explain says who holds a line.
func (p place) explain(err error) error {
	holder := p.line().consumer
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

// chips asks the kernel for every GPIO chip, fresh each time: periph knows only
// those that were there at the start. The error is about the first that could
// not be asked.
func (h *Hardware) chips() (all []chip, broken error) {
	paths, _ := filepath.Glob(filepath.Join(h.Dev, "gpiochip*")) // the pattern is fixed
	if len(paths) == 0 {
		return nil, fmt.Errorf("no %s/gpiochip*: %w: is this a Raspberry Pi, and if a container, has it --device /dev/gpiochip0?", h.Dev, os.ErrNotExist)
	}
	for _, path := range paths {
		c, err := readChip(path)
		switch {
		case err != nil && broken == nil:
			broken = explainChip(err)
		case err == nil && !slices.ContainsFunc(all, func(other chip) bool { return other.name == c.name }):
			all = append(all, c) // gpiochip4 of a Pi 5 is a link to gpiochip0
		}
	}
	return all, broken
}

func explainChip(err error) error {
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w: join the group that may: sudo usermod -aG gpio %s, then start again", err, host.UserName())
	}
	return err
}

func readChip(path string) (chip, error) {
	file, err := os.Open(path)
	if err != nil {
		return chip{}, err
	}
	defer file.Close()
	info, err := uapi.GetChipInfo(file.Fd())
	if err != nil {
		return chip{}, fmt.Errorf("%s: is it a GPIO chip? %w", path, err)
	}
	c := chip{path: path, name: uapi.BytesToString(info.Name[:]), label: uapi.BytesToString(info.Label[:])}
	for offset := range int(info.Lines) {
		l, err := uapi.GetLineInfoV2(file.Fd(), offset)
		if err != nil {
			return chip{}, fmt.Errorf("%s line %d: %w", path, offset, err)
		}
		c.lines = append(c.lines, lineInfo{uapi.BytesToString(l.Name[:]), uapi.BytesToString(l.Consumer[:])})
	}
	return c, nil
}
