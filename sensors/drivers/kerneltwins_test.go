package drivers

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// twins are two hwmon of one name at one part, and one of the name elsewhere.
func twins(t testing.TB) kernelTree {
	k := newKernelTree(t)
	for n, celsius := range map[string]string{"2": "20000", "10": "30000"} {
		k.bind("class/hwmon/hwmon"+n, i2c1+"/1-0048", map[string]string{"name": "twin", "temp1_input": celsius})
	}
	k.bind("class/hwmon/hwmon3", i2c1+"/1-0049", map[string]string{"name": "twin", "temp1_input": "40000"})
	return k
}

func TestTwinsAtOnePartAreOfferedPathsThatDiffer(t *testing.T) {
	k := twins(t)
	_, err := (&hwmonOptions{Name: "twin", Inputs: []string{"temp1"}}).Open(t.Context(), k.h)
	if err == nil {
		t.Fatal("one of three was taken")
	}
	_, offer, _ := strings.Cut(err.Error(), "add device: ")
	got := map[string]float64{}
	for device := range strings.SplitSeq(offer, " or ") {
		got[device] = last(t, k.open(&hwmonOptions{Name: "twin", Device: device, Inputs: []string{"temp1"}})).Value
	}
	want := map[string]float64{"i2c-1/1-0048#1": 20, "i2c-1/1-0048#2": 30, "i2c-1/1-0049": 40}
	if !maps.Equal(got, want) {
		t.Errorf("%v: %v, want %v", err, got, want)
	}
	for _, device := range []string{"1-0048", "1-0048#3", "1-0049#2"} {
		if _, err := (&hwmonOptions{Name: "twin", Device: device, Inputs: []string{"temp1"}}).Open(t.Context(), k.h); err == nil {
			t.Errorf("%s means one", device)
		}
	}
	for _, device := range []string{"#1", "1-0048#", "1-0048#0", "1-0048#x"} {
		if p := (&hwmonOptions{Name: "twin", Device: device, Inputs: []string{"temp1"}}).Check(); len(p) != 1 || p[0].Key != "device" {
			t.Errorf("%s: %v", device, p)
		}
	}
}

// What scan prints opens each of them, or says that it cannot be told apart.
func TestScanNamesEachDeviceSoThatItOpens(t *testing.T) {
	k := twins(t)
	k.bind("class/hwmon/hwmon0", "virtual", map[string]string{"name": "twin", "temp1_input": "1000"})
	k.bind("class/hwmon/hwmon1", i2c1+"/1-0044", map[string]string{"name": "alone", "temp1_input": "50000"})
	k.bind("class/thermal/thermal_zone0", "virtual", map[string]string{"type": "acpitz", "temp": "1000"})
	k.bind("class/thermal/thermal_zone1", "virtual", map[string]string{"type": "acpitz", "temp": "2000"})
	k.bind("bus/iio/devices/iio:device0", i2c1+"/1-0076", map[string]string{"name": "bme280", "in_temp_input": "5000"})
	k.bind("bus/iio/devices/iio:device1", i2c1+"/1-0077", map[string]string{"name": "bme280", "in_temp_input": "6000"})
	hwmon, err1 := k.h.ScanHwmon()
	iio, err2 := k.h.ScanIIO()
	zones, err3 := k.h.ScanThermal()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"hwmon1": 50, "hwmon2": 20, "hwmon3": 40, "hwmon10": 30, "iio:device0": 5, "iio:device1": 6}
	got := map[string]float64{}
	for _, d := range append(append(hwmon, iio...), zones...) {
		switch base := filepath.Base(d.Path); {
		case d.Unclear != "":
			if base != "hwmon0" && !strings.HasPrefix(base, "thermal") {
				t.Errorf("%+v", d)
			}
		case strings.HasPrefix(base, "hwmon"):
			got[base] = last(t, k.open(&hwmonOptions{Name: d.Name, Device: d.Device, Inputs: []string{"temp1"}})).Value
		default:
			got[base] = last(t, k.open(&iioOptions{Name: d.Name, Device: d.Device, Inputs: []string{"in_temp"}})).Value
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
