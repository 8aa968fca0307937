package sysfs

import (
	"maps"
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

func TestTwoDevicesOfOnePartGetDifferentOptions(t *testing.T) {
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
		o := &hwmonOptions{Name: "twin", Device: device, Inputs: []string{"temp1"}}
		if _, err := o.Open(t.Context(), k.h); err == nil {
			t.Errorf("%s means one", device)
		}
	}
	for _, device := range []string{"#1", "1-0048#", "1-0048#0", "1-0048#x"} {
		o := &hwmonOptions{Name: "twin", Device: device, Inputs: []string{"temp1"}}
		if p := o.Check(); len(p) != 1 || p[0].Key != "device" {
			t.Errorf("%s: %v", device, p)
		}
	}
}
