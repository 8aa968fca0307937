package drivers

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// machine is a Raspberry Pi's sysfs, as far as its sensors go.
func machine(t testing.TB) *Hardware {
	t.Helper()
	h := &Hardware{Host: host.Host{Dev: t.TempDir(), Sys: t.TempDir()}}
	for path, text := range map[string]string{
		"class/hwmon/hwmon0/name":                      "cpu_thermal",
		"class/hwmon/hwmon0/temp1_input":               "48312",
		"class/hwmon/hwmon1/name":                      "rpi_volt",
		"class/hwmon/hwmon1/in0_lcrit_alarm":           "0",
		"class/hwmon/hwmon10/name":                     "ina219",
		"class/hwmon/hwmon10/in1_input":                "12000",
		"class/hwmon/hwmon10/in10_input":               "12000",
		"class/hwmon/hwmon10/in2_input":                "12000",
		"class/hwmon/hwmon10/energy1_input":            "1",
		"class/hwmon/hwmon2/power":                     "no name",
		"bus/iio/devices/iio:device0/name":             "bme280",
		"bus/iio/devices/iio:device0/in_temp_input":    "21500",
		"bus/iio/devices/iio:device0/in_temp_raw":      "1",
		"bus/iio/devices/iio:device0/in_temp_scale":    "1",
		"bus/iio/devices/iio:device0/in_voltage0_raw":  "1",
		"bus/iio/devices/iio:device0/sampling_freq":    "1",
		"bus/iio/devices/trigger0/name":                "a trigger",
		"class/thermal/thermal_zone0/type":             "cpu-thermal",
		"class/thermal/thermal_zone0/temp":             "48312",
		"class/thermal/cooling_device0/type":           "fan",
		"bus/w1/devices/w1_bus_master1/w1_master_name": "w1_bus_master1",
		"bus/w1/devices/28-0316a2797bff/temperature":   "21500",
		"bus/w1/devices/3a-00000012ab34/id":            "x",
	} {
		plant(t, filepath.Join(h.Sys, path), text+"\n")
	}
	return h
}

// summary is "name: inputs" of each device.
func summary(devices []KernelDevice) (all []string) {
	for _, d := range devices {
		all = append(all, d.Name+": "+strings.Join(d.Inputs, " "))
	}
	return all
}

func TestKernelsDevicesAreListedWithTheirInputs(t *testing.T) {
	h := machine(t)
	for _, c := range []struct {
		scan func() ([]KernelDevice, error)
		want []string
	}{
		{h.ScanHwmon, []string{"cpu_thermal: temp1", "rpi_volt: ", "ina219: in1 in2 in10"}},
		{h.ScanIIO, []string{"bme280: in_temp in_voltage0"}},
		{h.ScanThermal, []string{"cpu-thermal: temp"}},
		{h.ScanOneWire, []string{"28-0316a2797bff: temperature", "3a-00000012ab34: "}},
	} {
		devices, err := c.scan()
		if got := summary(devices); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q, %v; want %q", got, err, c.want)
		}
		for _, d := range devices {
			if _, err := os.Stat(d.Path); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestMachineWithoutSensorsHasNoneAndNoError(t *testing.T) {
	h := &Hardware{Host: host.Host{Sys: t.TempDir()}}
	for _, scan := range []func() ([]KernelDevice, error){h.ScanHwmon, h.ScanIIO, h.ScanThermal, h.ScanOneWire} {
		if devices, err := scan(); devices != nil || err != nil {
			t.Error(devices, err)
		}
	}
}

func TestFolderThatCannotBeReadIsAnError(t *testing.T) {
	h := &Hardware{Host: host.Host{Sys: t.TempDir()}}
	for _, path := range []string{"class/hwmon", "class/thermal", "bus/iio/devices", "bus/w1/devices"} {
		plant(t, filepath.Join(h.Sys, path), "a file in the place of the folder")
	}
	for _, scan := range []func() ([]KernelDevice, error){h.ScanHwmon, h.ScanIIO, h.ScanThermal, h.ScanOneWire} {
		var at *os.PathError
		if devices, err := scan(); devices != nil || !errors.As(err, &at) {
			t.Error(devices, err)
		}
	}
}

func TestNamesAreFitToPrint(t *testing.T) {
	for text, want := range map[string]string{
		"bme280":                  "bme280",
		"\x1b[31mred\n\tfan\r":    "[31mredfan",
		"\xff\xfe°C":              "°C",
		strings.Repeat("x", 1000): strings.Repeat("x", 80),
	} {
		if got := host.Printable(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
