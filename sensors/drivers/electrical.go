package drivers

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/holdfast-iot/holdfast/sensors"
)

// What the electrical parts measure, as Home Assistant names and writes it.
var (
	voltage = sensors.Quantity{Name: "voltage", Unit: "V", Class: "voltage"}
	current = sensors.Quantity{Name: "current", Unit: "A", Class: "current"}
	watts   = sensors.Quantity{Name: "power", Unit: "W", Class: "power"}
)

// volts is a voltage as a person writes it: 3.3V, 250mV.
type volts float64

var voltsForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?(m?)V$`)

func (v volts) String() string { return strconv.FormatFloat(float64(v), 'g', -1, 64) + "V" }

// UnmarshalText takes `3.3V` and `250mV`.
func (v *volts) UnmarshalText(text []byte) error {
	m := voltsForm.FindStringSubmatch(string(text))
	if m == nil {
		return fmt.Errorf("%q is not a voltage: write it with its unit, as in 3.3V or 250mV", text)
	}
	x, err := strconv.ParseFloat(m[1], 64)
	if m[2] != "" {
		x /= 1000
	}
	*v = volts(x)
	return err
}

// ohms is a resistance as a person writes it, or as it is printed on the part:
// 470, 0.1, 4.7k, 4k7, R100, 1M.
type ohms float64

var (
	ohmsForm    = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kM]?)(?:Ω|ohms?)?$`)
	ohmsPrinted = regexp.MustCompile(`^([0-9]*)([RkM])([0-9]+)$`)
	ohmsPer     = map[string]float64{"": 1, "R": 1, "k": 1e3, "M": 1e6}
)

func (r ohms) String() string { return strconv.FormatFloat(float64(r), 'g', -1, 64) }

// UnmarshalText takes `470`, `4.7k` and `4k7`.
func (r *ohms) UnmarshalText(text []byte) error {
	m := ohmsForm.FindStringSubmatch(string(text))
	if p := ohmsPrinted.FindStringSubmatch(string(text)); p != nil {
		m = []string{"", p[1] + "." + p[3], p[2]}
	}
	if m == nil {
		return fmt.Errorf("%q is not a resistance: write ohms, as in 470, 0.1, 4.7k or 4k7", text)
	}
	x, err := strconv.ParseFloat(m[1], 64)
	*r = ohms(x * ohmsPer[m[2]])
	return err
}
