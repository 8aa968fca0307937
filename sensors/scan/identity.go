package scan

import (
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// A registerBus is what asking a part for its identity takes of a bus.
type registerBus interface {
	Tx(addr uint16, w, r []byte) error
}

// An identityRegister says what a part is. Asking for it writes the register's number,
// and at most addresses that may change something: it switches the outputs of a PCF8574
// (0x20 to 0x27, 0x38 to 0x3f), is a command to Sensirion's and Aosong's parts and the
// BH1750, and sets up a PCF8591 (0x48 to 0x4f). So it is done at the addresses below
// alone, where every part that is commonly wired takes it for a register's number or
// ignores it.
type identityRegister struct {
	first, last   uint16   // the addresses at which it is asked
	distinguishes []string // the kinds that it can tell from all others

	// ask returns what the part says it is, and the kind that reads it; both are empty
	// where it is none that is known.
	ask func(bus registerBus, addr uint16) (says, kind string, err error)
}

var identityRegisters = []identityRegister{
	{0x18, 0x1f, []string{"mcp9808"}, askMCP9808},
	{0x76, 0x77, []string{"bme280", "bmp280", "bmp390"}, askBosch},
}

// identify narrows down what a part may be, where its registers say so. A part
// that cannot be asked stays what its address says.
func identify(bus registerBus, p *Part) {
	for _, id := range identityRegisters {
		if p.Address < id.first || p.Address > id.last {
			continue
		}
		says, kind, err := id.ask(bus, p.Address)
		if err != nil {
			return
		}
		p.Says = says
		p.Kinds = slices.DeleteFunc(p.Kinds, func(k string) bool {
			return k != kind && (kind != "" || says != "" || slices.Contains(id.distinguishes, k))
		})
	}
}

// askBosch reads the chip id (BST-BME280-DS002 5.4.1, BST-BMP280-DS001 4.3.1). A
// multiplexer TCA9548A can be at these addresses too, and has one register: it
// takes the number for a choice of channels and answers with it. It gets back the choice
// that it had.
func askBosch(bus registerBus, addr uint16) (says, kind string, err error) {
	const chip = 0xd0
	var before, id [1]byte
	if err := bus.Tx(addr, nil, before[:]); err != nil {
		return "", "", err
	}
	if err := bus.Tx(addr, []byte{chip}, id[:]); err != nil {
		return "", "", err
	}
	// It has just switched its channels to 0xd0.
	if id[0] == chip {
		return "a multiplexer?", "", bus.Tx(addr, before[:], nil)
	}
	part, kind := drivers.BoschPart(id[0])
	if part == "" {
		return askBMP3(bus, addr)
	}
	return fmt.Sprintf("%s (chip id 0x%02x)", part, id[0]), kind, nil
}

// askBMP3 reads the chip id of a BMP390 or BMP388, which is in another register
// (BST-BMP390-DS002 4.3.1). To an MS5611, which can be at these addresses too, the number is
// the command that reads its converter, and changes nothing.
func askBMP3(bus registerBus, addr uint16) (says, kind string, err error) {
	var id [1]byte
	if err := bus.Tx(addr, []byte{0x00}, id[:]); err != nil {
		return "", "", err
	}
	part := drivers.BMP3Part(id[0])
	if part == "" {
		return "", "", nil
	}
	return fmt.Sprintf("%s (chip id 0x%02x)", part, id[0]), "bmp390", nil
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
