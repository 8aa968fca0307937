package scan

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
	"github.com/holdfast-iot/holdfast/sensors/drivers/sysfs"
)

// A Device is a device that a driver of the kernel reads.
type Device struct {
	Name   string   // from the driver: "cpu_thermal", "28-0316a2797bff"
	Path   string   // its current path; the numbers in it change from boot to boot
	Option string   // the option `device` that selects it; empty: it needs none
	Inputs []string // what it measures

	Unread  bool   // no kind reads it
	Monitor bool   // on a 1-wire bus: a DS2438, not a thermometer
	Unclear string // why no option selects only this device; empty: one does
}

// IIO lists the devices of the industrial I/O subsystem: "bme280", "dht11".
func IIO(h *drivers.Hardware) ([]Device, error) {
	return kernelDevices(h, kernel.IIO, "name", iioFile)
}

// Hwmon lists the devices of the hardware monitoring subsystem, with the
// inputs that kind hwmon can read.
func Hwmon(h *drivers.Hardware) ([]Device, error) {
	return kernelDevices(h, kernel.Hwmon, "name", func(file string) (string, bool) {
		input, ok := strings.CutSuffix(file, "_input")
		return input, ok && sysfs.IsHwmonInput(input)
	})
}

// Thermal lists the thermal zones by their types.
func Thermal(h *drivers.Hardware) ([]Device, error) {
	return kernelDevices(h, kernel.Thermal, "type", func(file string) (string, bool) {
		return file, file == "temp"
	})
}

// iioFile returns the channel of a file: in_temp for in_temp_input, in_voltage0 for
// in_voltage0_raw.
func iioFile(file string) (channel string, ok bool) {
	if !strings.HasPrefix(file, "in_") {
		return "", false
	}
	for _, end := range []string{"_input", "_raw"} {
		if channel, ok := strings.CutSuffix(file, end); ok {
			return channel, true
		}
	}
	return "", false
}

// kernelDevices returns the devices of a list. name is the file with the name of a device. input
// returns the input to which a file belongs, if any.
func kernelDevices(h *drivers.Hardware, list kernel.List, name string,
	input func(file string) (string, bool)) ([]Device, error) {
	root, pattern := filepath.Split(filepath.Join(h.Sys, list.Glob))
	dirs, err := host.Numbered(root, strings.TrimSuffix(pattern, "*"))
	entries := list.Entries(h.Sys)
	var all []Device
	for _, dir := range dirs {
		path := filepath.Join(root, dir)
		d := Device{Name: host.ReadPrintable(filepath.Join(path, name)), Path: path}
		// It was removed since, or has no printable name.
		if d.Name == "" {
			continue
		}
		d.Inputs = inputsOf(path, input)
		device, unclear := list.OptionFor(entries, d.Name, path)
		if d.Option = device; unclear != nil {
			d.Unclear = unclear.Error()
		}
		all = append(all, d)
	}
	return all, err
}

func inputsOf(dir string, input func(string) (string, bool)) (inputs []string) {
	files, _ := os.ReadDir(dir) // removed since: no inputs
	for _, f := range files {
		// Skip a name with control characters.
		if name, ok := input(f.Name()); ok && host.Printable(name) == name && !slices.Contains(inputs, name) {
			inputs = append(inputs, name)
		}
	}
	slices.SortFunc(inputs, host.CompareNatural)
	return inputs
}

// oneWireFile returns the input of a file of a thermometer or a DS2438.
func oneWireFile(file string) (input string, ok bool) {
	return file, file == "temperature" || file == "vad" || file == "vdd"
}

// OneWire returns the parts on the 1-wire buses, by their ids.
func OneWire(h *drivers.Hardware) (all []Device, err error) {
	root := filepath.Join(h.Sys, "bus", "w1", "devices")
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !kernel.IsOneWireID(e.Name()) {
			continue // w1_bus_master1
		}
		path := filepath.Join(root, e.Name())
		all = append(all, Device{
			Name: e.Name(), Path: path,
			Inputs:  inputsOf(path, oneWireFile),
			Monitor: kernel.IsDS2438(e.Name()),
			Unread:  !kernel.IsOneWireThermometer(e.Name()) && !kernel.IsDS2438(e.Name()),
		})
	}
	return all, err
}
