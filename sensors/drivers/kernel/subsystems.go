package kernel

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Hwmon are the devices of hardware monitoring, by the name that their driver gave.
var Hwmon = List{"hwmon", "class/hwmon/hwmon*", namedIn("name"), classHardware}

// IIO are the devices of Industrial I/O. Their name is of their driver's choice: the part (bme280), the device
// tree's node (dht11@4) or the address of an I2C device (1-0040), whose own name
// is then the part's (si7020).
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

// iioHardware is the folder of the hardware, in which that of the IIO device is.
func iioHardware(dir string) string {
	path, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return dir
	}
	return filepath.Dir(path)
}

// Thermal are the thermal zones, by their type. A zone has no other hardware: its own
// folder stands for it.
var Thermal = List{"thermal", "class/thermal/thermal_zone*", namedIn("type"), filepath.Clean}

// classHardware is the hardware of a device of a class: where the link in its folder leads, or
// the folder itself.
func classHardware(dir string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return dir // a virtual device
	}
	return path
}

// namedIn is the names of a device whose folder has them in a file.
func namedIn(file string) func(dir string) []string {
	return func(dir string) []string {
		name, err := host.ReadLine(filepath.Join(dir, file))
		if err != nil || name == "" {
			return nil
		}
		return []string{name}
	}
}
