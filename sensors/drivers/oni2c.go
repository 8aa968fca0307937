package drivers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// onI2C are the options of every part on an I2C bus. The options of a kind embed them.
type onI2C struct {
	// the bus: 1 is /dev/i2c-1, on pins 3 and 5
	I2C i2c.Bus `yaml:"i2c"`
	// on the bus
	Address uint16 `yaml:"address"`

	part  string   // what the addresses are of
	known []uint16 // the addresses that it can have, the default first
}

// newOnI2C are the options of a part, "a BME280", with its default address and the
// others that it can have.
func newOnI2C(part string, known ...uint16) onI2C {
	return onI2C{I2C: 1, Address: known[0], part: part, known: known}
}

// Check says whether the part can have the address.
func (o *onI2C) Check() []Problem {
	if slices.Contains(o.known, o.Address) {
		return nil
	}
	words := make([]string, len(o.known))
	for i, a := range o.known {
		words[i] = fmt.Sprintf("0x%02x", a)
	}
	return []Problem{problem("address", "0x%02x is not an address of %s: it has %s",
		o.Address, o.part, strings.Join(words, ", "))}
}

// Claims is the address on the bus: no two sensors have the same.
func (o *onI2C) Claims() []string { return []string{claim(o.I2C, o.Address)} }

// claim names an address on a bus.
func claim(bus i2c.Bus, addr uint16) string { return fmt.Sprintf("%v 0x%02x", bus, addr) }

// ParentClaim is the claim that another is a part of: the converter's, of one of its
// inputs; empty if there is none.
func ParentClaim(claim string) string {
	// A claim of a part is its bus and address; one of an input has a third word.
	if bus, _, ok := strings.Cut(claim, " "); !ok || !strings.HasPrefix(bus, "i2c-") || strings.Count(claim, " ") != 2 {
		return ""
	}
	return claim[:strings.LastIndexByte(claim, ' ')]
}

// openPart opens the part at the address that the options say. Nothing is sent yet.
func (o *onI2C) openPart(h *Hardware) (*i2c.Part, error) {
	return h.I2C.Open(&h.Host, o.I2C, o.Address)
}

// Addresses are those that a kind's part can have on an I2C bus, the default
// first; none for a part that is elsewhere.
func Addresses(kind string) []uint16 {
	o, _ := New(kind)
	if p, ok := o.(interface{ addresses() []uint16 }); ok {
		return p.addresses()
	}
	return nil
}

// addresses is for [Addresses].
func (o *onI2C) addresses() []uint16 { return slices.Clone(o.known) }
