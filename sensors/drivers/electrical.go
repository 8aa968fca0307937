package drivers

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

// The quantities of electrical parts.
var voltage, current, watts = driver.Voltage, driver.Current, driver.Power

// volts is a voltage in V, which the configuration writes as 3.3V or 250mV.
type volts float64

// voltsForm requires the unit, because a number alone could be meant in mV.
var voltsForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?(m?)V$`)

// String returns a form that UnmarshalText accepts, always in V.
func (v volts) String() string { return strconv.FormatFloat(float64(v), 'g', -1, 64) + "V" }

// UnmarshalText parses `3.3V` and `250mV`.
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

// ohms is a resistance in Ω, which the configuration writes as a number or as printed on the
// part: 470, 0.1, 4.7k, 4k7, R100, 1M.
type ohms float64

var (
	// a number with an optional prefix and unit
	ohmsForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kM]?)(?:Ω|ohms?)?$`)
	// the code of IEC 60062: the letter is the decimal point
	ohmsPrinted = regexp.MustCompile(`^([0-9]*)([RkM])([0-9]+)$`)
	// factors of the letters
	ohmsPer = map[string]float64{"": 1, "R": 1, "k": 1e3, "M": 1e6}
)

// String returns the number of ohms, without a unit.
func (r ohms) String() string { return strconv.FormatFloat(float64(r), 'g', -1, 64) }

// UnmarshalText parses `470`, `4.7k` and `4k7`.
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
