package drivers

import (
	"cmp"
	"fmt"
	"slices"
)

// Looking a machine over, for `holdfast scan`: the functions of [Hardware] that
// begin with Scan say what is there and change nothing. Those that read sysfs look at
// names alone, never at values: a value of a 1-wire thermometer takes a second.

// Addresses are those that a kind's part can have on an I2C bus, the default
// first; none for a part that is elsewhere.
func Addresses(kind string) []uint16 {
	o, _ := New(kind)
	if p, ok := o.(interface{ addresses() []uint16 }); ok {
		return p.addresses()
	}
	return nil
}

func (o *onI2C) addresses() []uint16 { return slices.Clone(o.known) }

// kindsAt are the kinds that a part at an address may be, the likeliest first: a
// kind whose default it is before one that has to be moved there, then the one
// with fewer addresses to be at, then the one that more modules are sold with.
func kindsAt(addr uint16) (kinds []string) {
	for _, kind := range Kinds() {
		if slices.Contains(Addresses(kind), addr) {
			kinds = append(kinds, kind)
		}
	}
	moved := func(kind string) int { return min(1, slices.Index(Addresses(kind), addr)) }
	slices.SortStableFunc(kinds, func(a, b string) int {
		return cmp.Or(cmp.Compare(moved(a), moved(b)), cmp.Compare(len(Addresses(a)), len(Addresses(b))),
			cmp.Compare(slices.Index(seldom, a), slices.Index(seldom, b)))
	})
	return kinds
}

// seldom are kinds that have a commoner likeness at all of their addresses.
var seldom = []string{"ads1015"} // most boards have an ADS1115

// address is how a person writes an address of an I2C bus.
func address(addr uint16) string { return fmt.Sprintf("0x%02x", addr) }
