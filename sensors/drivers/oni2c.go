package drivers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// onI2C has the options of every part on an I2C bus. The options of a kind embed it.
type onI2C struct {
	// the bus: 1 is /dev/i2c-1, on pins 3 and 5
	I2C i2c.Bus `yaml:"i2c"`
	// on the bus
	Address uint16 `yaml:"address"`

	part  string   // with its article, for messages: "a BME280"
	known []uint16 // the addresses that the part can have, the default first
}

// newOnI2C returns the options of a part, such as "a BME280", with the addresses that it can
// have, the default first.
func newOnI2C(part string, known ...uint16) onI2C {
	return onI2C{I2C: 1, Address: known[0], part: part, known: known}
}

// Check reports an address that the part cannot have.
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

// Claims returns the address on the bus: no two sensors may use the same one.
func (o *onI2C) Claims() []string { return []string{claim(o.I2C, o.Address)} }

// claim returns the claim of an address on a bus, such as "i2c-1 0x76".
func claim(bus i2c.Bus, addr uint16) string { return fmt.Sprintf("%v 0x%02x", bus, addr) }

// ParentClaim returns the claim of the whole part for the claim of one of its inputs or pins:
// "i2c-1 0x48" for "i2c-1 0x48 A0". It is empty for any other claim.
func ParentClaim(claim string) string {
	if bus, _, ok := strings.Cut(claim, " "); !ok || !strings.HasPrefix(bus, "i2c-") || strings.Count(claim, " ") != 2 {
		return ""
	}
	return claim[:strings.LastIndexByte(claim, ' ')]
}

// openPart opens the part at the address of the options. It sends nothing yet.
func (o *onI2C) openPart(h *Hardware) (*i2c.Part, error) {
	return h.I2C.Open(&h.Host, o.I2C, o.Address)
}

// Addresses returns the I2C addresses that the part of a kind can have, the default first. It
// returns nil for a kind that is not an I2C part.
func Addresses(kind string) []uint16 {
	o, _ := New(kind)
	if p, ok := o.(interface{ addresses() []uint16 }); ok {
		return p.addresses()
	}
	return nil
}

// addresses implements the interface that [Addresses] looks for.
func (o *onI2C) addresses() []uint16 { return slices.Clone(o.known) }
