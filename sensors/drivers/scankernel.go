package drivers

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// A KernelDevice is something that a driver of the kernel measures.
type KernelDevice struct {
	Name   string   // what the driver calls it: "cpu_thermal", "28-0316a2797bff"
	Path   string   // where it is now; the numbers change from boot to boot
	Device string   // the option `device` that means it; empty: it needs none
	Inputs []string // what it measures

	Unclear string // why no options mean this one alone; empty: they do
}

// ScanIIO lists the devices of the industrial I/O subsystem: "bme280", "dht11".
func (h *Hardware) ScanIIO() ([]KernelDevice, error) {
	return h.kernelDevices(kernel.IIO, "name", iioFile)
}

// ScanHwmon lists the devices of the hardware monitoring subsystem, with the
// inputs that kind hwmon can read.
func (h *Hardware) ScanHwmon() ([]KernelDevice, error) {
	return h.kernelDevices(kernel.Hwmon, "name", func(file string) (string, bool) {
		input, ok := strings.CutSuffix(file, "_input")
		return input, ok && hwmonInput.MatchString(input)
	})
}

// ScanThermal lists the thermal zones by their types.
func (h *Hardware) ScanThermal() ([]KernelDevice, error) {
	return h.kernelDevices(kernel.Thermal, "type", func(file string) (string, bool) {
		return file, file == "temp"
	})
}

// iioFile is the channel that a file is of: in_temp of in_temp_input,
// in_voltage0 of in_voltage0_raw.
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

func (h *Hardware) kernelDevices(list kernel.List, name string, input func(string) (string, bool)) ([]KernelDevice, error) {
	root, pattern := filepath.Split(filepath.Join(h.Sys, list.Glob))
	dirs, err := host.Numbered(root, strings.TrimSuffix(pattern, "*"))
	entries := list.Entries(h.Sys)
	var all []KernelDevice
	for _, dir := range dirs {
		path := filepath.Join(root, dir)
		d := KernelDevice{Name: host.ReadPrintable(filepath.Join(path, name)), Path: path}
		if d.Name == "" {
			continue
		}
		d.Inputs = inputsOf(path, input)
		device, unclear := list.OptionFor(entries, d.Name, path)
		if d.Device = device; unclear != nil {
			d.Unclear = unclear.Error()
		}
		all = append(all, d)
	}
	return all, err
}

func inputsOf(dir string, input func(string) (string, bool)) (inputs []string) {
	files, _ := os.ReadDir(dir) // gone since: it has no inputs
	for _, f := range files {
		if name, ok := input(f.Name()); ok && host.Printable(name) == name && !slices.Contains(inputs, name) {
			inputs = append(inputs, name)
		}
	}
	slices.SortFunc(inputs, host.CompareNatural)
	return inputs
}

// oneWireID is the family and the serial number of a part on a 1-wire bus, as
// the kernel writes it.
var oneWireID = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{12}$`)

// ScanOneWire lists the parts on the 1-wire buses by their ids.
func (h *Hardware) ScanOneWire() (all []KernelDevice, err error) {
	root := filepath.Join(h.Sys, "bus", "w1", "devices")
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !oneWireID.MatchString(e.Name()) {
			continue // w1_bus_master1
		}
		path := filepath.Join(root, e.Name())
		all = append(all, KernelDevice{Name: e.Name(), Path: path,
			Inputs: inputsOf(path, func(file string) (string, bool) { return file, file == "temperature" })})
	}
	return all, err
}
