package drivers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// adapter is the device that a bus belongs to, and the kernel's driver of it.
type adapter struct{ device, driver string } // folders of sysfs

// name is what the driver's files bind and unbind take.
func (a adapter) name() string { return filepath.Base(a.device) }

func (a adapter) isGPIO() bool { return filepath.Base(a.driver) == "i2c-gpio" }

// adapter finds a bus in sysfs: /sys/bus/i2c/devices/i2c-1 is a link to the bus,
// inside the device.
func (h *Hardware) adapter(bus string) (adapter, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(h.Sys, "bus", "i2c", "devices", bus))
	if err != nil {
		return adapter{}, err
	}
	device := filepath.Dir(dir)
	driver, err := filepath.EvalSymlinks(filepath.Join(device, "driver"))
	if err != nil {
		return adapter{}, fmt.Errorf("%s has no driver that could be bound anew: %w", device, err)
	}
	return adapter{device, driver}, nil
}

// rebind takes the driver off a bus's adapter and gives it back, with nine clocks
// in between where the kernel drives the bus by GPIO lines. It says what it did.
// The bus's own file has to be closed.
//
// The kernel's drivers of parts on the bus go and come with it. A file that
// another program has open holds this up until it is closed.
func (h *Hardware) rebind(bus string) (did string, err error) {
	a, err := h.adapter(bus)
	if err != nil {
		return "", err
	}
	unbind, err := h.attr(a, "unbind")
	if err != nil {
		return "", err
	}
	defer unbind.Close()
	bind, err := h.attr(a, "bind") // before anything is taken away
	if err != nil {
		return "", err
	}
	defer bind.Close()
	var clock func() (string, error)
	if a.isGPIO() {
		clock = h.clocks(a) // while the lines can still be found by their holder
	}
	if _, err := io.WriteString(unbind, a.name()); err != nil {
		return "", fmt.Errorf("unbind %s: %w", a.name(), err)
	}
	did = fmt.Sprintf("%s unbound and bound", filepath.Base(a.driver))
	if clock != nil {
		var clocked string
		clocked, err = clock()
		did = strings.TrimPrefix(clocked+", ", ", ") + did
	}
	if _, failed := io.WriteString(bind, a.name()); failed != nil {
		return "", fmt.Errorf("%s is gone: bind %s: %w: echo %s | sudo tee %s/bind", bus, a.name(), failed, a.name(), a.driver)
	}
	return did, err
}

// attr opens a driver's file to write.
func (h *Hardware) attr(a adapter, file string) (io.WriteCloser, error) {
	path := filepath.Join(a.driver, file)
	open := h.buses.openAttr
	if open == nil {
		open = func(path string) (io.WriteCloser, error) { return os.OpenFile(path, os.O_WRONLY, 0) }
	}
	f, err := open(path)
	switch {
	case errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("%w: the service's ProtectKernelTunables= keeps holdfast from setting the adapter up again", err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: to let holdfast set the adapter up again: sudo chgrp i2c %s/{bind,unbind}; sudo chmod g+w %s/{bind,unbind} at each boot", err, a.driver, a.driver)
	}
	return f, err
}

// clocks finds the lines of an i2c-gpio bus and returns what sends it nine clocks
// once they are free.
func (h *Hardware) clocks(a adapter) func() (string, error) {
	sda, scl, err := h.busLines(a.device)
	return func() (string, error) {
		if err != nil {
			return "", fmt.Errorf("no clocks: %w", err)
		}
		n, err := h.clock(sda, scl)
		if err != nil {
			return fmt.Sprintf("%d clocks on %v", n, scl), err
		}
		return fmt.Sprintf("%d clocks on %v: SDA is high", n, scl), nil
	}
}

// busLines finds the lines of an i2c-gpio bus: in the device tree, else by what
// the driver calls them while it holds them.
func (h *Hardware) busLines(device string) (sda, scl place, err error) {
	node := filepath.Join(device, "of_node")
	data, err := os.ReadFile(filepath.Join(node, "sda-gpios"))
	if err == nil {
		var more []byte
		more, err = os.ReadFile(filepath.Join(node, "scl-gpios"))
		data = append(data, more...)
	} else {
		data, err = os.ReadFile(filepath.Join(node, "gpios")) // the older form, as in the i2c-gpio overlay: SDA, SCL
	}
	if err != nil {
		chips, broken := h.chips()
		if broken != nil {
			return sda, scl, errors.Join(err, broken)
		}
		return linesHeldAs(chips, "sda", "scl")
	}
	controllers := h.controllers()
	specs, err := gpioSpecs(data, func(phandle uint32) int { return controllers[phandle].cells })
	if err != nil || len(specs) != 2 {
		return sda, scl, fmt.Errorf("%s: %d lines, want SDA and SCL: %w", node, len(specs), err)
	}
	at := func(s gpioSpec) place {
		name := controllers[s.phandle].chip
		return place{chip{path: filepath.Join(h.Dev, name), name: name}, int(s.offset)}
	}
	return at(specs[0]), at(specs[1]), nil
}

// linesHeldAs finds the two lines by the consumers' names.
func linesHeldAs(chips []chip, sdaName, sclName string) (sda, scl place, err error) {
	var found [2][]place
	for _, c := range chips {
		for offset, l := range c.lines {
			for i, name := range []string{sdaName, sclName} {
				if l.consumer == name {
					found[i] = append(found[i], place{c, offset})
				}
			}
		}
	}
	if len(found[0]) != 1 || len(found[1]) != 1 {
		return sda, scl, fmt.Errorf("%d lines are held as %q and %d as %q, want one each", len(found[0]), sdaName, len(found[1]), sclName)
	}
	return found[0][0], found[1][0], nil
}

// controller is a GPIO chip of the device tree.
type controller struct {
	chip  string // "gpiochip0"
	cells int    // #gpio-cells: how many numbers name a line
}

// controllers are the GPIO chips by their phandles.
func (h *Hardware) controllers() map[uint32]controller {
	all := map[uint32]controller{}
	nodes, _ := filepath.Glob(filepath.Join(h.Sys, "bus", "gpio", "devices", "gpiochip*", "of_node")) // the pattern is fixed
	for _, node := range nodes {
		phandle, err := os.ReadFile(filepath.Join(node, "phandle"))
		cells, err2 := os.ReadFile(filepath.Join(node, "#gpio-cells"))
		if err != nil || err2 != nil || len(phandle) != 4 || len(cells) != 4 {
			continue
		}
		all[binary.BigEndian.Uint32(phandle)] = controller{filepath.Base(filepath.Dir(node)), int(binary.BigEndian.Uint32(cells))}
	}
	return all
}

// gpioSpec is a line in the device tree.
type gpioSpec struct{ phandle, offset uint32 }

// gpioSpecs decodes a property of GPIO lines: for each the phandle of its chip
// and as many cells as the chip wants, of which the first of two is the offset
// (devicetree, bindings/gpio/gpio.txt). Cells are 32 bits, big-endian.
func gpioSpecs(data []byte, cells func(phandle uint32) int) (specs []gpioSpec, err error) {
	for len(data) > 0 {
		if len(data) < 12 {
			return nil, fmt.Errorf("%d bytes are left, which is no line", len(data))
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
