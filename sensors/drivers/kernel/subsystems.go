package kernel

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Hwmon lists the devices of hardware monitoring, by the name from their driver.
var Hwmon = List{"hwmon", "class/hwmon/hwmon*", namedIn("name"), classHardware}

// IIO lists the devices of Industrial I/O. Depending on the driver, their name is the part
// (bme280), the node of the device tree (dht11@4) or the address of an I2C device (1-0040), which
// itself has the name of the part (si7020).
var IIO = List{"iio", "bus/iio/devices/iio:device*", iioNames, iioHardware}

func iioNames(dir string) []string {
	names := namedIn("name")(dir)
	for _, n := range names {
		if node, _, ok := strings.Cut(n, "@"); ok {
			names = append(names, node)
		}
	}
	if part := namedIn("name")(iioHardware(dir)); len(part) == 1 && !slices.Contains(names, part[0]) {
		names = append(names, part[0])
	}
	return names
}

// iioHardware returns the folder of the hardware, which contains that of the IIO device.
func iioHardware(dir string) string {
	path, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return dir
	}
	return filepath.Dir(path)
}

// Thermal lists the thermal zones by their type. A zone has no hardware: its own folder is used.
var Thermal = List{"thermal", "class/thermal/thermal_zone*", namedIn("type"), filepath.Clean}

// classHardware returns the hardware of a device of a class: the target of the link `device` in
// its folder, or the folder itself.
func classHardware(dir string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return dir // a virtual device
	}
	return path
}

// namedIn returns a function that reads the name of a device from a file in its folder.
func namedIn(file string) func(dir string) []string {
	return func(dir string) []string {
		name, err := host.ReadLine(filepath.Join(dir, file))
		if err != nil || name == "" {
			return nil
		}
		return []string{name}
	}
}
