package scan

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
)

// machine is a Raspberry Pi's sysfs, as far as its sensors go.
func machine(t testing.TB) *drivers.Hardware {
	t.Helper()
	h := &drivers.Hardware{Host: host.Host{Dev: t.TempDir(), Sys: t.TempDir()}}
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
		"bus/w1/devices/26-000001a2b3c4/vad":           "1",
		"bus/w1/devices/26-000001a2b3c4/vdd":           "1",
		"bus/w1/devices/26-000001a2b3c4/page0":         "1",
	} {
		plant(t, filepath.Join(h.Sys, path), text+"\n")
	}
	return h
}

// summary is "name: inputs" of each device.
func summary(devices []Device) (all []string) {
	for _, d := range devices {
		all = append(all, d.Name+": "+strings.Join(d.Inputs, " "))
	}
	return all
}

func TestKernelsDevicesAreListedWithTheirInputs(t *testing.T) {
	h := machine(t)
	for _, c := range []struct {
		scan func(*drivers.Hardware) ([]Device, error)
		want []string
	}{
		{Hwmon, []string{"cpu_thermal: temp1", "rpi_volt: ", "ina219: in1 in2 in10"}},
		{IIO, []string{"bme280: in_temp in_voltage0"}},
		{Thermal, []string{"cpu-thermal: temp"}},
		{OneWire, []string{"26-000001a2b3c4: vad vdd", "28-0316a2797bff: temperature", "3a-00000012ab34: "}},
	} {
		devices, err := c.scan(h)
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

func TestScanWithoutSensorsIsNotAnError(t *testing.T) {
	h := &drivers.Hardware{Host: host.Host{Sys: t.TempDir()}}
	for _, scan := range []func(*drivers.Hardware) ([]Device, error){Hwmon, IIO, Thermal, OneWire} {
		if devices, err := scan(h); devices != nil || err != nil {
			t.Error(devices, err)
		}
	}
}

func TestFolderThatCannotBeReadIsAnError(t *testing.T) {
	h := &drivers.Hardware{Host: host.Host{Sys: t.TempDir()}}
	for _, path := range []string{"class/hwmon", "class/thermal", "bus/iio/devices", "bus/w1/devices"} {
		plant(t, filepath.Join(h.Sys, path), "a file in the place of the folder")
	}
	for _, scan := range []func(*drivers.Hardware) ([]Device, error){Hwmon, IIO, Thermal, OneWire} {
		var at *os.PathError
		if devices, err := scan(h); devices != nil || !errors.As(err, &at) {
			t.Error(devices, err)
		}
	}
}

// bind puts a device of a list into a sysfs as a driver of the kernel does: its folder
// inside that of its hardware, and a link to it where the list is.
func bind(t testing.TB, h *drivers.Hardware, list, hardware string, files map[string]string) {
	t.Helper()
	dir := filepath.Join(h.Sys, "devices", hardware, filepath.Base(list))
	link := filepath.Join(h.Sys, list)
	err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(filepath.Dir(link), 0o700), os.Symlink(dir, link))
	if hardware != "virtual" {
		err = errors.Join(err, os.Symlink(filepath.Join(h.Sys, "devices", hardware), filepath.Join(dir, "device")))
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		plant(t, filepath.Join(dir, name), text+"\n")
	}
}

// The printed options open each device, or say that it cannot be distinguished.
func TestScanNamesEachDeviceSoThatItOpens(t *testing.T) {
	const i2c1 = "platform/soc/fe804000.i2c/i2c-1/"
	h := &drivers.Hardware{Host: host.Host{Sys: t.TempDir()}}
	for _, d := range []struct{ list, hardware, name string }{
		{"class/hwmon/hwmon0", "virtual", "twin"},
		{"class/hwmon/hwmon1", i2c1 + "1-0044", "alone"},
		{"class/hwmon/hwmon2", i2c1 + "1-0048", "twin"},
		{"class/hwmon/hwmon3", i2c1 + "1-0049", "twin"},
		{"class/hwmon/hwmon10", i2c1 + "1-0048", "twin"},
		{"bus/iio/devices/iio:device0", i2c1 + "1-0076", "bme280"},
		{"bus/iio/devices/iio:device1", i2c1 + "1-0077", "bme280"},
		{"class/thermal/thermal_zone0", "virtual", "acpitz"},
		{"class/thermal/thermal_zone1", "virtual", "acpitz"},
	} {
		bind(t, h, d.list, d.hardware, map[string]string{"name": d.name, "type": d.name,
			"number": filepath.Base(d.list)})
	}
	unclear := []string{"hwmon0", "thermal_zone0", "thermal_zone1"} // they have no hardware path
	opened := 0
	for _, c := range []struct {
		list kernel.List
		scan func(*drivers.Hardware) ([]Device, error)
	}{{kernel.Hwmon, Hwmon}, {kernel.IIO, IIO}, {kernel.Thermal, Thermal}} {
		devices, err := c.scan(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			want := filepath.Base(d.Path)
			if (d.Unclear != "") != slices.Contains(unclear, want) {
				t.Errorf("%+v", d)
			}
			if d.Unclear != "" {
				continue
			}
			opened++
			device, err := c.list.Open(&h.Host, d.Name, d.Option)
			if err != nil {
				t.Errorf("%+v: %v", d, err)
				continue
			}
			if got, err := device.ReadLine("number"); err != nil || got != want {
				t.Errorf("%+v opens %s, %v", d, got, err)
			}
			if err := device.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if opened != 6 {
		t.Errorf("%d devices opened, want 6", opened)
	}
}
