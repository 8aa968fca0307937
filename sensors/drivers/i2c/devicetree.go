package i2c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// busLines finds the lines of an i2c-gpio bus: in the device tree, or else by their consumer
// names while the driver holds them.
func busLines(h *host.Host, device string) (sda, scl gpio.Place, err error) {
	node := filepath.Join(device, "of_node")
	data, err := os.ReadFile(filepath.Join(node, "sda-gpios"))
	if err == nil {
		var more []byte
		more, err = os.ReadFile(filepath.Join(node, "scl-gpios"))
		data = append(data, more...)
	} else {
		data, err = os.ReadFile(filepath.Join(node, "gpios")) // older form, used by the i2c-gpio overlay: SDA, SCL
	}
	if err != nil {
		chips, broken := gpio.Chips(h)
		if len(broken) > 0 {
			return sda, scl, errors.Join(err, broken[0])
		}
		return linesHeldAs(chips, "sda", "scl")
	}
	controllers := controllersOf(h)
	specs, err := gpioSpecs(data, func(phandle uint32) int { return controllers[phandle].cells })
	if err != nil || len(specs) != 2 {
		return sda, scl, fmt.Errorf("%s: %d lines, want SDA and SCL: %w", node, len(specs), err)
	}
	// Do not read the chip yet: the driver holds the lines until it is unbound.
	at := func(s gpioSpec) gpio.Place {
		name := controllers[s.phandle].chip
		return gpio.Place{Chip: gpio.Chip{Path: filepath.Join(h.Dev, name), Name: name}, Offset: int(s.offset)}
	}
	return at(specs[0]), at(specs[1]), nil
}

// linesHeldAs finds the two lines by the consumers' names.
func linesHeldAs(chips []gpio.Chip, sdaName, sclName string) (sda, scl gpio.Place, err error) {
	var found [2][]gpio.Place
	for _, c := range chips {
		for offset, l := range c.Lines {
			for i, name := range []string{sdaName, sclName} {
				if l.Consumer == name {
					found[i] = append(found[i], gpio.Place{Chip: c, Offset: offset})
				}
			}
		}
	}
	if len(found[0]) != 1 || len(found[1]) != 1 {
		return sda, scl, fmt.Errorf("%d lines are held as %q and %d as %q, want one each",
			len(found[0]), sdaName, len(found[1]), sclName)
	}
	return found[0][0], found[1][0], nil
}

// A controller is a GPIO chip of the device tree.
type controller struct {
	chip  string // "gpiochip0"
	cells int    // #gpio-cells: how many numbers specify a line
}

// controllersOf returns the GPIO chips by their phandles.
func controllersOf(h *host.Host) map[uint32]controller {
	all := map[uint32]controller{}
	pattern := filepath.Join(h.Sys, "bus", "gpio", "devices", "gpiochip*", "of_node")
	nodes, _ := filepath.Glob(pattern) // its only error is a bad pattern
	for _, node := range nodes {
		phandle, err := os.ReadFile(filepath.Join(node, "phandle"))
		cells, err2 := os.ReadFile(filepath.Join(node, "#gpio-cells"))
		if err != nil || err2 != nil || len(phandle) != 4 || len(cells) != 4 {
			continue // without a phandle, nothing in the tree refers to this chip
		}
		all[binary.BigEndian.Uint32(phandle)] = controller{
			chip:  filepath.Base(filepath.Dir(node)),
			cells: int(binary.BigEndian.Uint32(cells)),
		}
	}
	return all
}

// A gpioSpec is a line in the device tree: the phandle of its chip, and its offset there.
type gpioSpec struct{ phandle, offset uint32 }

// gpioSpecs decodes a property of GPIO lines (devicetree, bindings/gpio/gpio.txt). For each line
// it has the phandle of its chip, and #gpio-cells cells. Only chips with two cells are supported:
// offset and flags. A cell has 32 bits, big-endian.
func gpioSpecs(data []byte, cells func(phandle uint32) int) (specs []gpioSpec, err error) {
	for len(data) > 0 {
		if len(data) < 12 {
			return nil, fmt.Errorf("%d bytes are left, which is not a whole line", len(data))
		}
		phandle := binary.BigEndian.Uint32(data)
		if n := cells(phandle); n != 2 {
			return nil, fmt.Errorf("no GPIO chip of two cells has the phandle %d", phandle)
		}
		specs = append(specs, gpioSpec{phandle, binary.BigEndian.Uint32(data[4:])})
		data = data[12:]
	}
	return specs, nil
}
