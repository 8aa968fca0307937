package scan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A Chip is a GPIO chip of the kernel.
type Chip struct {
	Name  string // "gpiochip0"
	Label string // set by its driver: "pinctrl-bcm2711"
	SoC   bool   // its offsets are the SoC's numbers
	Lines []Line
}

// A Line is one line of a chip, at the time of the scan.
type Line struct {
	Pin    string // as a configuration names it: "GPIO17", "gpiochip1/3"
	Header int    // the pin of the 40-pin header; 0 for a line that has none
	Name   string // in the kernel: "GPIO17", "SDA1"
	Used   bool   // a program or a driver holds it
	Holder string // name of the holder, if it gave one
	Output bool
	Bias   string // "pull-up", "pull-down", "no pull"; empty: unknown
}

// GPIO returns all GPIO chips with their lines. The error names chips that could not be read and
// says what the user can do; it is also set if there is no chip.
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

// Reserved reports whether the line has a special use on the header: the EEPROM of a HAT, I2C, or
// the serial port.
func (l Line) Reserved() bool { return slices.Contains(reserved, l.Pin) }

var reserved = []string{"GPIO0", "GPIO1", "GPIO2", "GPIO3", "GPIO14", "GPIO15"}

// line converts the kernel's information on a line. It removes control characters from the texts
// of drivers, because they are printed on a terminal.
func (c Chip) line(offset int, info gpio.LineInfo) Line {
	l := Line{
		Pin:    fmt.Sprintf("%s/%d", c.Name, offset),
		Name:   host.Printable(info.Name),
		Used:   info.Used(),
		Holder: host.Printable(info.Consumer),
		Output: info.Output(),
		Bias:   biases[info.Bias()],
	}
	// Only the lines of the SoC have GPIO numbers.
	if c.SoC && offset <= gpio.MaxSoCNumber {
		l.Pin, l.Header = gpio.SoCPin(offset).String(), gpio.HeaderPin(offset)
	}
	return l
}

// biases are the texts for the bias of a line.
var biases = map[gpio.Pull]string{gpio.PullUp: "pull-up", gpio.PullDown: "pull-down", gpio.PullOff: "no pull"}
