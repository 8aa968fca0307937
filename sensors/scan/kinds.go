package scan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// kindsAt returns the kinds that a part at an address may be, the most likely first: first the
// kinds with this default address, then those with fewer possible addresses, then the more common
// ones.
func kindsAt(addr uint16) (kinds []string) {
	for _, kind := range drivers.Kinds() {
		if slices.Contains(drivers.Addresses(kind), addr) {
			kinds = append(kinds, kind)
		}
	}
	moved := func(kind string) int { return min(1, slices.Index(drivers.Addresses(kind), addr)) }
	slices.SortStableFunc(kinds, func(a, b string) int {
		return cmp.Or(cmp.Compare(moved(a), moved(b)),
			cmp.Compare(len(drivers.Addresses(a)), len(drivers.Addresses(b))),
			cmp.Compare(slices.Index(rarer, a), slices.Index(rarer, b)))
	})
	return kinds
}

// rarer are kinds that are less common than another one with the same addresses. Kinds that are
// not in the list have index -1, so they come first.
var rarer = []string{"ads1015"} // most boards have an ADS1115

// unreadable are common parts that no kind reads, by their address.
var unreadable = map[uint16]string{
	0x27: "a character display?", 0x3f: "a character display?", // PCF8574
	0x3c: "an OLED display?", 0x3d: "an OLED display?", // SSD1306
	0x50: "an EEPROM?", 0x57: "an EEPROM?",
	0x68: "a clock (DS3231, DS1307)?",
	0x70: "a multiplexer (TCA9548A)?",
}

// Unreadable returns a common part at an address that no kind reads, as a question such as "an
// EEPROM?"; it is empty if there is none.
func Unreadable(addr uint16) string { return unreadable[addr] }

// address formats an address of an I2C bus.
func address(addr uint16) string { return fmt.Sprintf("0x%02x", addr) }
