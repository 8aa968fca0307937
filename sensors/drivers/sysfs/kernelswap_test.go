package sysfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A kernelTree is a sysfs in which drivers are bound and unbound: a device's
// folder is inside its hardware's, and a class has a link to it, as in the kernel.
type kernelTree struct {
	t testing.TB
	h *driver.Hardware
}

func newKernelTree(t testing.TB) kernelTree { return kernelTree{t, sysTree(t, nil)} }

// bind makes a device of a class: class/hwmon/hwmon0, with its files, below its hardware.
func (k kernelTree) bind(class, hardware string, files map[string]string) {
	k.t.Helper()
	dir := filepath.Join(k.h.Sys, "devices", hardware, filepath.Base(filepath.Dir(class)), filepath.Base(class))
	if strings.HasPrefix(class, "bus/") {
		dir = filepath.Join(k.h.Sys, "devices", hardware, filepath.Base(class)) // iio:device0
	}
	link := filepath.Join(k.h.Sys, class)
	err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(filepath.Dir(link), 0o700), os.Symlink(dir, link))
	if !strings.HasPrefix(hardware, "virtual") && strings.HasPrefix(class, "class/") {
		err = errors.Join(err, os.Symlink(filepath.Join(k.h.Sys, "devices", hardware), filepath.Join(dir, "device")))
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k kernelTree) unbind(classes ...string) {
	k.t.Helper()
	for _, class := range classes {
		link := filepath.Join(k.h.Sys, class)
		dir, err := filepath.EvalSymlinks(link)
		if err := errors.Join(err, os.Remove(link), os.RemoveAll(dir)); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k kernelTree) open(o driver.Options) sensors.Sensor {
	k.t.Helper()
	if p := o.Check(); p != nil {
		k.t.Fatal(p)
	}
	s, err := o.Open(k.t.Context(), k.h)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { s.Close() })
	return s
}

const i2c1 = "platform/soc/fe804000.i2c/i2c-1"

// swapped is a kind of the kernel's with two parts of one name.
type swapped struct {
	class          string // without its number
	fridge, boiler string // their hardware
	cold, hot      map[string]string
	options        func() driver.Options // that mean the fridge
	coldIs         float64
}

func twoParts() map[string]swapped {
	sht := func(celsius string) map[string]string {
		return map[string]string{"name": "sht3x", "temp1_input": celsius, "humidity1_input": "50000"}
	}
	iio := func(name, celsius string) map[string]string {
		return map[string]string{"name": name, "in_temp_input": celsius, "in_humidityrelative_input": "50000"}
	}
	zone := func(kind, celsius string) map[string]string { return map[string]string{"type": kind, "temp": celsius} }
	return map[string]swapped{
		"hwmon": {"class/hwmon/hwmon", i2c1 + "/1-0044", i2c1 + "/1-0045", sht("4000"), sht("60000"),
			func() driver.Options {
				return &hwmonOptions{Name: "sht3x", Device: "1-0044", Inputs: []string{"temp1"}}
			}, 4},
		"iio": {"bus/iio/devices/iio:device", i2c1 + "/1-0040", i2c1 + "/1-0041", iio("hdc1080", "4000"),
			iio("hdc1080", "60000"),
			func() driver.Options {
				return &iioOptions{Name: "hdc1080", Device: "1-0040", Inputs: []string{"in_temp"}}
			}, 4},
		"dht": {"bus/iio/devices/iio:device", "platform/dht11@4", "platform/dht11@11", iio("dht11@4", "4000"),
			iio("dht11@11", "60000"),
			func() driver.Options { return &dhtOptions{Name: "dht11", Device: "dht11@4"} }, 4},
		"thermal": {"class/thermal/thermal_zone", "virtual", "virtual", zone("gpu-thermal", "40000"),
			zone("cpu-thermal", "60000"),
			func() driver.Options { return &thermalOptions{Type: "gpu-thermal"} }, 40},
		"hwmon without hardware": {"class/hwmon/hwmon", "virtual", "virtual",
			map[string]string{"name": "cold", "temp1_input": "4000"},
			map[string]string{"name": "hot", "temp1_input": "60000"},
			func() driver.Options { return &hwmonOptions{Name: "cold", Inputs: []string{"temp1"}} }, 4},
	}
}

// Two parts are bound again in the other order, between two reads: hwmon0 is the
// boiler's now. One read fails, and then the fridge is as cold as it was.
func TestPartsThatAreBoundInAnotherOrderKeepTheirStreams(t *testing.T) {
	for name, c := range twoParts() {
		t.Run(name, func(t *testing.T) {
			k := newKernelTree(t)
			k.bind(c.class+"0", c.fridge, c.cold)
			k.bind(c.class+"1", c.boiler, c.hot)
			o := c.options()
			s := k.open(o)
			if got := last(t, s); got.Value != c.coldIs {
				t.Fatal(got)
			}
			k.unbind(c.class+"0", c.class+"1")
			k.bind(c.class+"0", c.boiler, c.hot)
			k.bind(c.class+"1", c.fridge, c.cold)
			if samples, err := s.Next(t.Context()); err == nil {
				t.Fatalf("the read after it: %+v", samples)
			}
			if got := last(t, k.open(o)); got.Value != c.coldIs || got.Err != nil {
				t.Errorf("the fridge reads %+v", got)
			}
		})
	}
}

// Another part takes the place of the only one with the name.
func TestNameIsNotUsedForOtherHardware(t *testing.T) {
	for name, c := range twoParts() {
		if strings.HasPrefix(c.fridge, "virtual") || name == "dht" { // its nodes have names of their own
			continue
		}
		t.Run(name, func(t *testing.T) {
			k := newKernelTree(t)
			k.bind(c.class+"0", c.fridge, c.cold)
			o := c.options()
			switch o := o.(type) {
			case *hwmonOptions:
				o.Device = ""
			case *iioOptions:
				o.Device = ""
			}
			s := k.open(o)
			last(t, s)

			k.bind(c.class+"1", c.boiler, c.hot)
			if samples, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "have this name") {
				t.Errorf("two have the name: %+v, %v", samples, err)
			}
			k.unbind(c.class + "0")
			if _, err := s.Next(t.Context()); err == nil {
				t.Error("the part is gone, and was read")
			}
			_, err := o.Open(t.Context(), k.h)
			if err == nil || !strings.Contains(err.Error(), filepath.Base(c.fridge)) ||
				!strings.Contains(err.Error(), "SIGHUP") {
				t.Errorf("opened as the other part: %v", err)
			}
			k.h.Forget() // the configuration is read again
			if got := last(t, k.open(o)); got.Value != 60 {
				t.Error(got)
			}
		})
	}
}

// A part that is removed and comes back under the same number is opened again.
func TestReconnectedPartIsRead(t *testing.T) {
	c := twoParts()["hwmon"]
	k := newKernelTree(t)
	k.bind(c.class+"0", c.fridge, c.cold)
	o := c.options()
	s := k.open(o)
	k.unbind(c.class + "0")
	if _, err := s.Next(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	k.bind(c.class+"3", c.fridge, c.cold)
	if got := last(t, k.open(o)); got.Value != 4 {
		t.Error(got)
	}
}

// A part behind an adapter that has another number now is still the same part.
func TestPartFollowsItsAdapter(t *testing.T) {
	const left, right = "platform/pci0000:00/usb1/1-1/1-1:1.0", "platform/pci0000:00/usb1/1-2/1-2:1.0"
	c := twoParts()["hwmon"]
	k := newKernelTree(t)
	k.bind(c.class+"0", left+"/i2c-11/11-0044", c.cold)
	k.bind(c.class+"1", right+"/i2c-12/12-0044", c.hot)
	o := &hwmonOptions{Name: "sht3x", Device: "11-0044", Inputs: []string{"temp1"}}
	last(t, k.open(o))
	k.unbind(c.class+"0", c.class+"1")
	k.bind(c.class+"0", right+"/i2c-11/11-0044", c.hot)
	if _, err := o.Open(t.Context(), k.h); err == nil || !strings.Contains(err.Error(), "1-1:1.0") {
		t.Errorf("opened as the part of the other adapter: %v", err)
	}
	k.bind(c.class+"1", left+"/i2c-13/13-0044", c.cold)
	s := k.open(o)
	for range 2 {
		if got := last(t, s); got.Value != 4 {
			t.Error(got)
		}
	}
}

// The board's own files are searched at each read.
func TestPiFollowsItsThermalZone(t *testing.T) {
	k := newKernelTree(t)
	zone := func(kind, celsius string) map[string]string { return map[string]string{"type": kind, "temp": celsius} }
	k.bind("class/thermal/thermal_zone0", "virtual", zone("cpu-thermal", "50000"))
	s := k.open(&piOptions{Chosen: []string{"temperature"}, Path: "/"})
	last(t, s)
	k.unbind("class/thermal/thermal_zone0")
	k.bind("class/thermal/thermal_zone0", "virtual", zone("battery", "20000"))
	k.bind("class/thermal/thermal_zone1", "virtual", zone("cpu-thermal", "51000"))
	if got := last(t, s); got.Value != 51 {
		t.Error(got)
	}
}

// A disk that was unmounted leaves its folder, which is on another disk.
func TestUnmountedDiskHasNoFreeSpaceValue(t *testing.T) {
	k := newKernelTree(t)
	disk := t.TempDir()
	s := k.open(&piOptions{Chosen: []string{"disk_free"}, Path: disk})
	if err := k.h.Known.Confirm("disk_free of "+disk,
		host.Identity{Stable: disk, Shown: "the file system at " + disk}); err != nil {
		t.Fatal(err)
	}
	if samples, err := s.Next(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "is now the file system at /") {
		t.Errorf("%+v, %v", samples, err)
	}
	k.h.Forget()
	for range 2 {
		last(t, s)
	}
	for path, want := range map[string]string{"/": "/", "/proc/fs": "/proc", "/proc": "/proc"} {
		if at, err := mountPoint(path); err != nil || at != want {
			t.Errorf("%s is on %s, %v; want %s", path, at, err, want)
		}
	}
}

// last is the last sample of a read.
func last(t testing.TB, s sensors.Sensor) sensors.Sample {
	t.Helper()
	samples, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return samples[len(samples)-1]
}
