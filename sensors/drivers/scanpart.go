package drivers

import (
	"fmt"
	"slices"
)

// A registerBus is what asking a part for its identity takes of a bus.
type registerBus interface {
	Tx(addr uint16, w, r []byte) error
}

// An identity is a register that says what a part is. Asking for it writes the
// register's number, and at most addresses that may change something: it
// switches the outputs of a PCF8574 (0x20 to 0x27, 0x38 to 0x3f), is a command to
// Sensirion's and Aosong's parts and the BH1750, and sets up a PCF8591 (0x48 to 0x4f). So it
// is done at the addresses below alone, where every part that is commonly wired takes
// it for a register's number or ignores it.
type identity struct {
	first, last uint16
	tells       []string // the kinds that it can tell from all others
	ask         func(registerBus, uint16) (says, kind string, err error)
}

var identities = []identity{
	{0x18, 0x1f, []string{"mcp9808"}, askMCP9808},
	{0x76, 0x77, []string{"bme280", "bmp280"}, askBosch},
}

// identify narrows down what a part may be, where its registers say so. A part
// that cannot be asked stays what its address says.
func identify(bus registerBus, p *I2CPart) {
	for _, id := range identities {
		if p.Address < id.first || p.Address > id.last {
			continue
		}
		says, kind, err := id.ask(bus, p.Address)
		if err != nil {
			return
		}
		p.Says = says
		p.Kinds = slices.DeleteFunc(p.Kinds, func(k string) bool {
			return k != kind && (kind != "" || says != "" || slices.Contains(id.tells, k))
		})
	}
}

// boschParts are the chip ids of register 0xD0.
var boschParts = map[byte][2]string{
	0x60: {"BME280", "bme280"},
	0x58: {"BMP280", "bmp280"}, 0x56: {"BMP280 (sample)", "bmp280"}, 0x57: {"BMP280 (sample)", "bmp280"},
	0x55: {"BMP180", ""}, 0x61: {"BME680 or BME688", ""},
}

// askBosch reads the chip id (BST-BME280-DS002 5.4.1, BST-BMP280-DS001 4.3.1). A
// multiplexer TCA9548A can be at these addresses too, and has one register: it
// takes the number for a choice of channels and answers with it. It gets back what it had.
func askBosch(bus registerBus, addr uint16) (says, kind string, err error) {
	const chip = 0xd0
	var before, id [1]byte
	if err := bus.Tx(addr, nil, before[:]); err != nil {
		return "", "", err
	}
	if err := bus.Tx(addr, []byte{chip}, id[:]); err != nil {
		return "", "", err
	}
	if id[0] == chip {
		return "a multiplexer?", "", bus.Tx(addr, before[:], nil)
	}
	part, ok := boschParts[id[0]]
	if !ok {
		return "", "", nil
	}
	return fmt.Sprintf("%s (chip id 0x%02x)", part[0], id[0]), part[1], nil
}

// askMCP9808 reads the manufacturer's id and the device's (DS25095A 5.1.5, 5.1.6).
func askMCP9808(bus registerBus, addr uint16) (says, kind string, err error) {
	var maker, device [2]byte
	if err := bus.Tx(addr, []byte{0x06}, maker[:]); err != nil {
		return "", "", err
	}
	if err := bus.Tx(addr, []byte{0x07}, device[:]); err != nil {
		return "", "", err
	}
	if maker != [2]byte{0x00, 0x54} || device[0] != 0x04 {
		return "", "", nil
	}
	return "MCP9808 (manufacturer 0x0054, device 0x04)", "mcp9808", nil
}
