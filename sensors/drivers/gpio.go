package drivers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

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
	at, err := pin.find(chips)
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
		return fmt.Errorf("%w: join the group that may: sudo usermod -aG gpio %s, then start again", err, userName())
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

// find looks a pin up among the chips. On a board without a chip whose offsets
// are the SoC's numbers, GPIO17 is the line that the kernel calls so.
func (p Pin) find(chips []chip) (place, error) {
	if p.form == onSoC && !slices.ContainsFunc(chips, func(c chip) bool { return isSoC(c.label) }) {
		p.form, p.name = byName, fmt.Sprint("GPIO", p.offset)
	}
	var found []place
	for _, c := range chips {
		if offset, ok := p.on(c); ok {
			found = append(found, place{c, offset})
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return place{}, fmt.Errorf("%w on %s", errNoLine, describe(chips))
	}
	return place{}, fmt.Errorf("that name is on two lines: write %v or %v", found[0], found[1])
}

var errNoLine = errors.New("no such line")

// on is the pin's offset on a chip.
func (p Pin) on(c chip) (offset int, ok bool) {
	switch p.form {
	case onChip:
		asked := resolve(c.path, p.chip)
		return p.offset, (asked == c.name || asked == filepath.Base(c.path)) && p.offset < len(c.lines)
	case onSoC:
		return p.offset, isSoC(c.label) && p.offset < len(c.lines)
	}
	offset = slices.IndexFunc(c.lines, func(l lineInfo) bool { return l.name == p.name })
	return offset, offset >= 0
}

// isSoC reports whether a chip is the one whose offsets are the SoC's numbers:
// pinctrl-bcm2835 up to the Pi 3, pinctrl-bcm2711 on the 4, pinctrl-rp1 on the
// 5. The kernel's names of its lines differ between boards and kernels: GPIO4 is
// GPIO_GCLK on some.
func isSoC(label string) bool {
	return strings.HasPrefix(label, "pinctrl-bcm2") || label == "pinctrl-rp1"
}

// resolve follows a link beside a chip's device file: gpiochip4 is a link to
// gpiochip0 on a Pi 5.
func resolve(beside, name string) string {
	if target, err := os.Readlink(filepath.Join(filepath.Dir(beside), name)); err == nil {
		return filepath.Base(target)
	}
	return name
}

// describe is what a person may have meant: the chips, and some of their names.
func describe(chips []chip) string {
	var places, names []string
	for _, c := range chips {
		places = append(places, fmt.Sprintf("%s (%s, %d lines)", c.name, c.label, len(c.lines)))
		for _, l := range c.lines {
			if len(names) < 4 && len(l.name) > 1 {
				names = append(names, l.name)
			}
		}
	}
	s := strings.Join(places, ", ")
	if len(names) > 0 {
		s += "; names there are " + strings.Join(names, ", ")
	}
	return s
}
