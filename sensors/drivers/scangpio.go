package drivers

import (
	"errors"
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
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
	all, broken := gpio.Chips(&h.Host)
	for _, c := range all {
		chips = append(chips, scanChip(c))
	}
	return chips, errors.Join(broken...)
}

func scanChip(c gpio.Chip) GPIOChip {
	s := GPIOChip{Name: host.Printable(c.Name), Label: host.Printable(c.Label), SoC: c.IsSoC()}
	for offset, l := range c.Lines {
		s.Lines = append(s.Lines, s.line(offset, l))
	}
	return s
}

// line makes a line of what the kernel says.
func (c GPIOChip) line(offset int, info gpio.LineInfo) GPIOLine {
	l := GPIOLine{
		Pin:    fmt.Sprintf("%s/%d", c.Name, offset),
		Name:   host.Printable(info.Name),
		Used:   info.Flags&uapi.LineFlagV2Used != 0,
		Holder: host.Printable(info.Consumer),
		Output: info.Flags&uapi.LineFlagV2Output != 0,
		Bias:   biasOf(info.Flags),
	}
	if c.SoC && offset <= gpio.MaxSoCNumber {
		l.Pin, l.Header = gpio.SoCPin(offset).String(), gpio.HeaderPin(offset)
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
