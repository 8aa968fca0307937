package scan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A Chip is a GPIO chip that the kernel has.
type Chip struct {
	Name  string // "gpiochip0"
	Label string // what its driver calls it: "pinctrl-bcm2711"
	SoC   bool   // its offsets are the SoC's numbers
	Lines []Line
}

// A Line is one line of a chip as it is now.
type Line struct {
	Pin    string // as a configuration names it: "GPIO17", "gpiochip1/3"
	Header int    // the pin of the 40-pin header; 0 for a line that has none
	Name   string // the kernel's: "GPIO17", "SDA1"
	Used   bool   // somebody has it
	Holder string // who, where they say
	Output bool
	Bias   string // "pull-up", "pull-down", "no pull"; empty: not said
}

// GPIO lists every GPIO chip with its lines. The errors say how to fix what could not
// be read; no chip at all is one.
func GPIO(h *drivers.Hardware) (chips []Chip, err error) {
	all, broken := gpio.Chips(&h.Host)
	for _, c := range all {
		chips = append(chips, scanChip(c))
	}
	return chips, errors.Join(broken...)
}

func scanChip(c gpio.Chip) Chip {
	s := Chip{Name: host.Printable(c.Name), Label: host.Printable(c.Label), SoC: c.IsSoC()}
	for offset, l := range c.Lines {
		s.Lines = append(s.Lines, s.line(offset, l))
	}
	return s
}

// Reserved reports whether the line is on the header and has a use of its own there: the
// EEPROM of a HAT, I2C, and the serial port.
func (l Line) Reserved() bool { return slices.Contains(reserved, l.Pin) }

var reserved = []string{"GPIO0", "GPIO1", "GPIO2", "GPIO3", "GPIO14", "GPIO15"}

// line is what the kernel says of a line, as a person writes it. Text of drivers is made
// printable: it ends up in a terminal.
func (c Chip) line(offset int, info gpio.LineInfo) Line {
	l := Line{
		Pin:    fmt.Sprintf("%s/%d", c.Name, offset),
		Name:   host.Printable(info.Name),
		Used:   info.Used(),
		Holder: host.Printable(info.Consumer),
		Output: info.Output(),
		Bias:   biases[info.Bias()],
	}
	// Other chips' lines have no number that a person knows.
	if c.SoC && offset <= gpio.MaxSoCNumber {
		l.Pin, l.Header = gpio.SoCPin(offset).String(), gpio.HeaderPin(offset)
	}
	return l
}

// biases are the resistors of a line in a person's words.
var biases = map[gpio.Pull]string{gpio.PullUp: "pull-up", gpio.PullDown: "pull-down", gpio.PullOff: "no pull"}
