package drivers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/warthog618/go-gpiocdev/uapi"
)

// A GPIOChip is a GPIO chip that the kernel has.
type GPIOChip struct {
	Name  string // "gpiochip0"
	Label string // what its driver calls it: "pinctrl-bcm2711"
	SoC   bool   // its offsets are the SoC's numbers
	Lines []GPIOLine
}

// A GPIOLine is one line of a chip as it is now.
type GPIOLine struct {
	Pin    string // as a configuration names it: "GPIO17", "gpiochip1/3"
	Header int    // the pin of the 40-pin header; 0 for a line that has none
	Name   string // the kernel's: "GPIO17", "SDA1"
	Used   bool   // somebody has it
	Holder string // who, where they say
	Output bool
	Bias   string // "pull-up", "pull-down", "no pull"; empty: not said
}

// ScanGPIO looks at every GPIO chip. The errors say how to mend what could not
// be looked at; no chip at all is one.
func (h *Hardware) ScanGPIO() (chips []GPIOChip, err error) {
	names, err := host.Numbered(h.Dev, "gpiochip")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no %s/gpiochip*: %w: is this a Raspberry Pi, and if a container, has it --device /dev/gpiochip0?", h.Dev, os.ErrNotExist)
	}
	var broken []error
	for _, name := range names {
		c, err := scanChip(filepath.Join(h.Dev, name))
		switch {
		case err != nil:
			broken = append(broken, explainChip(err))
		case !slices.ContainsFunc(chips, func(other GPIOChip) bool { return other.Name == c.Name }):
			chips = append(chips, c) // gpiochip4 of a Pi 5 is a link to gpiochip0
		}
	}
	return chips, errors.Join(broken...)
}

func scanChip(path string) (GPIOChip, error) {
	file, err := os.Open(path)
	if err != nil {
		return GPIOChip{}, err
	}
	defer file.Close()
	info, err := uapi.GetChipInfo(file.Fd())
	if err != nil {
		return GPIOChip{}, fmt.Errorf("%s: is it a GPIO chip? %w", path, err)
	}
	c := chipOf(info)
	for offset := range int(info.Lines) {
		l, err := uapi.GetLineInfoV2(file.Fd(), offset)
		if err != nil {
			return GPIOChip{}, fmt.Errorf("%s line %d: %w", path, offset, err)
		}
		c.Lines = append(c.Lines, c.line(offset, l))
	}
	return c, nil
}

func chipOf(info uapi.ChipInfo) GPIOChip {
	label := uapi.BytesToString(info.Label[:])
	return GPIOChip{Name: host.Printable(uapi.BytesToString(info.Name[:])), Label: host.Printable(label), SoC: isSoC(label)}
}

// line makes a line of what the kernel says (linux/gpio.h, gpio_v2_line_info).
func (c GPIOChip) line(offset int, info uapi.LineInfoV2) GPIOLine {
	l := GPIOLine{
		Pin:    fmt.Sprintf("%s/%d", c.Name, offset),
		Name:   host.Printable(uapi.BytesToString(info.Name[:])),
		Used:   info.Flags&uapi.LineFlagV2Used != 0,
		Holder: host.Printable(uapi.BytesToString(info.Consumer[:])),
		Output: info.Flags&uapi.LineFlagV2Output != 0,
		Bias:   biasOf(info.Flags),
	}
	if c.SoC && offset <= mostGPIO {
		l.Pin, l.Header = Pin{form: onSoC, offset: offset}.String(), headerOf(offset)
	}
	return l
}

func biasOf(flags uapi.LineFlagV2) string {
	switch {
	case flags&uapi.LineFlagV2BiasPullUp != 0:
		return "pull-up"
	case flags&uapi.LineFlagV2BiasPullDown != 0:
		return "pull-down"
	case flags&uapi.LineFlagV2BiasDisabled != 0:
		return "no pull"
	}
	return ""
}

// headerOf is the pin of the header that a GPIO of the SoC is on; 0 for none.
func headerOf(gpio int) int {
	for pin, at := range header {
		if at == gpio {
			return pin
		}
	}
	return 0
}
