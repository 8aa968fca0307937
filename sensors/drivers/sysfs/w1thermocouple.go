package sysfs

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// The family 3b has two parts: the DS1825, a thermometer like the DS18B20, and the MAX31850
// (MAX31851), which measures with a thermocouple. The configuration in byte 4 of the scratchpad
// distinguishes them: its upper four bits are all ones in a MAX31850 (19-6725, configuration
// register), and begin with a zero in a DS1825.

// max31850Limits is the range of thermocouples of types K to E.
var max31850Limits = limits{-270, 1768}

// isMAX31850 reports whether a part is a MAX31850. It needs the scratchpad: the id is not enough.
func isMAX31850(family string, scratchpad []byte) bool {
	return family == kernel.FamilyDS1825 && scratchpad[4]&0xf0 == 0xf0
}

// max31850Reading decodes the upper 14 bits, in steps of 0.25 °C. The lowest bit is a fault flag, and
// byte 2 says why (tables 2 and 3). Older kernels use the two lowest bits as a fraction.
func max31850Reading(scratchpad []byte) (w1Reading, error) {
	const fault, open, shortGround, shortSupply = 1, 1, 2, 4
	raw := int16(binary.LittleEndian.Uint16(scratchpad))
	if raw&fault == 0 {
		r, err := w1Within(max31850Limits, float64(raw>>2)/4)
		r.scratchpad = scratchpad
		return r, err
	}
	switch why := scratchpad[2]; {
	case why&open != 0:
		return w1Reading{}, errors.New("the thermocouple is open: is it wired?")
	case why&shortGround != 0:
		return w1Reading{}, errors.New("the thermocouple has a short circuit to ground")
	case why&shortSupply != 0:
		return w1Reading{}, errors.New("the thermocouple has a short circuit to the supply")
	}
	return w1Reading{}, errors.New("the part reports a fault of the thermocouple")
}

// w1LimitsOf returns the limits for a value in m°C without a scratchpad. In the family 3b, a multiple
// of 0.25 °C may come from a MAX31850 without a fault.
func w1LimitsOf(family, milli string) limits {
	quarter := len(milli) > 3 && slices.Contains([]string{"000", "250", "500", "750"}, milli[len(milli)-3:])
	if family == kernel.FamilyDS1825 && quarter {
		return max31850Limits
	}
	return w1Limits
}
