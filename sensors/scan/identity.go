package scan

import (
	"fmt"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// A registerBus is the part of a bus that the identification needs.
type registerBus interface {
	Tx(addr uint16, w, r []byte) error
}

// An identityRegister identifies parts. Reading it writes the number of the register first, which
// would change something at most addresses: it switches the outputs of a PCF8574 (0x20 to 0x27,
// 0x38 to 0x3f), is a command for Sensirion's and Aosong's parts and the BH1750, and configures a
// PCF8591 (0x48 to 0x4f). So it is done only at the addresses below, where all common parts take
// the byte as the number of a register or ignore it.
type identityRegister struct {
	first, last   uint16   // the addresses at which it may be read
	distinguishes []string // the kinds that it identifies with certainty

	// ask returns the name of the part and the kind that reads it; both are empty for an
	// unknown part.
	ask func(bus registerBus, addr uint16) (says, kind string, err error)
}

var identityRegisters = []identityRegister{
	{0x18, 0x1f, []string{"mcp9808"}, askMCP9808},
	{0x76, 0x77, []string{"bme280", "bmp280", "bmp390"}, askBosch},
}

// identify reduces the possible kinds of a part by its registers. If they cannot be read, the kinds
// stay those of the address.
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

// askBosch reads the chip id (BST-BME280-DS002 5.4.1, BST-BMP280-DS001 4.3.1). A multiplexer
// TCA9548A can have these addresses, too. Its only register selects the channels, so it takes the
// number of the register as a selection and returns it. askBosch restores the old selection.
func askBosch(bus registerBus, addr uint16) (says, kind string, err error) {
	const chip = 0xd0
	var before, id [1]byte
	if err := bus.Tx(addr, nil, before[:]); err != nil {
		return "", "", err
	}
	if err := bus.Tx(addr, []byte{chip}, id[:]); err != nil {
		return "", "", err
	}
	// It is a multiplexer, and its selection is now 0xd0: restore it.
	if id[0] == chip {
		return "a multiplexer?", "", bus.Tx(addr, before[:], nil)
	}
	part, kind := drivers.BoschPart(id[0])
	if part == "" {
		return askBMP3(bus, addr)
	}
	return fmt.Sprintf("%s (chip id 0x%02x)", part, id[0]), kind, nil
}

// askBMP3 reads the chip id of a BMP390 or BMP388, which is in another register (BST-BMP390-DS002
// 4.3.1). For an MS5611, which can have these addresses, too, the number is the command that reads
// its converter: it changes nothing.
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

// askMCP9808 reads the manufacturer id and the device id (DS25095A 5.1.5, 5.1.6).
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
