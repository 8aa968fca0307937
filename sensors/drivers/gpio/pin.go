package gpio

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Pin is one GPIO line as the configuration names it.
type Pin struct {
	form   pinForm
	chip   string // for onChip: "gpiochip0"
	offset int    // on the chip; the SoC's number for onSoC
	name   string // for byName: the kernel's name of the line
}

// A pinForm is how a pin was written, which decides where it is searched.
type pinForm uint8

const (
	noPin  pinForm = iota
	onSoC          // GPIO17, 17, pin11
	onChip         // gpiochip0/17
	byName         // line:NAME
)

// MaxSoCNumber is the highest number of a GPIO on any Raspberry Pi's SoC.
const MaxSoCNumber = 53

// PinForms says how a pin may be written, for a message.
const PinForms = "write GPIO17 (the SoC's number), pin11 (of the 40-pin header), " +
	"gpiochip0/17 (chip and offset) or line:NAME (the kernel's name)"

// header maps the pins of the 40-pin header to their GPIOs.
var header = map[int]int{
	3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23,
	18: 24, 19: 10, 21: 9, 22: 25, 23: 11, 24: 8, 26: 7, 27: 0, 28: 1, 29: 5,
	31: 6, 32: 12, 33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21,
}

// power names the other pins of the header.
var power = map[int]string{
	1: "3.3 V", 2: "5 V", 4: "5 V", 17: "3.3 V",
	6: "ground", 9: "ground", 14: "ground", 20: "ground",
	25: "ground", 30: "ground", 34: "ground", 39: "ground",
}

// String returns the same text for a pin in all its forms.
func (p Pin) String() string {
	switch p.form {
	case onSoC:
		return "GPIO" + strconv.Itoa(p.offset)
	case onChip:
		return p.chip + "/" + strconv.Itoa(p.offset)
	case byName:
		return "line:" + p.name
	}
	return "no pin"
}

// IsZero reports whether p is the zero value: no pin was given.
func (p Pin) IsZero() bool { return p.form == noPin }

// SoCPin returns the pin with a GPIO number of the SoC: 17 is GPIO17.
func SoCPin(n int) Pin { return Pin{form: onSoC, offset: n} }

// HeaderPin returns the pin of the 40-pin header for a GPIO of the SoC; 0 if it has none.
func HeaderPin(gpio int) int {
	for pin, at := range header {
		if at == gpio {
			return pin
		}
	}
	return 0
}

// UnmarshalText parses the forms of [PinForms].
func (p *Pin) UnmarshalText(text []byte) error {
	s := string(text)
	var err error
	switch chip, offset, slash := strings.Cut(s, "/"); {
	case strings.HasPrefix(s, "line:"):
		*p, err = namedPin(strings.TrimPrefix(s, "line:"))
	case slash:
		*p, err = chipPin(chip, offset)
	case strings.HasPrefix(s, "pin"):
		*p, err = headerPin(strings.TrimPrefix(s, "pin"))
	default:
		*p, err = socPin(strings.TrimPrefix(s, "GPIO"))
	}
	if err != nil {
		return fmt.Errorf("%q is not a valid pin: %w", s, err)
	}
	return nil
}

// socPin parses a GPIO number as in Raspberry Pi's documentation.
func socPin(digits string) (Pin, error) {
	n, ok := host.ParseNumber(digits)
	if !ok {
		return Pin{}, fmt.Errorf("%s", PinForms)
	}
	if n > MaxSoCNumber {
		return Pin{}, fmt.Errorf("the SoC has GPIO0 to GPIO%d", MaxSoCNumber)
	}
	return Pin{form: onSoC, offset: n}, nil
}

// headerPin parses a pin of the header. It has a separate error for power pins, to help a user
// who counts from the wrong end.
func headerPin(digits string) (Pin, error) {
	n, ok := host.ParseNumber(digits)
	if !ok {
		return Pin{}, fmt.Errorf("%s", PinForms)
	}
	if what := power[n]; what != "" {
		return Pin{}, fmt.Errorf("pin %d of the header is %s", n, what)
	}
	gpio, ok := header[n]
	if !ok {
		return Pin{}, fmt.Errorf("the header has pin1 to pin40")
	}
	return Pin{form: onSoC, offset: gpio}, nil
}

// chipPin parses a chip and an offset. Open checks later whether the chip exists.
func chipPin(chip, offset string) (Pin, error) {
	_, isChip := host.ParseNumber(strings.TrimPrefix(chip, "gpiochip"))
	n, ok := host.ParseNumber(offset)
	if !ok || !isChip || !strings.HasPrefix(chip, "gpiochip") {
		return Pin{}, fmt.Errorf("%s", PinForms)
	}
	return Pin{form: onChip, chip: chip, offset: n}, nil
}

// namedPin parses the name of a line, which comes from the device tree.
func namedPin(name string) (Pin, error) {
	const longest = 31 // GPIO_MAX_NAME_SIZE with its final zero
	if name == "" || len(name) > longest || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return Pin{}, fmt.Errorf("a line's name is 1 to %d characters, as gpioinfo shows it", longest)
	}
	return Pin{form: byName, name: name}, nil
}
