package sysfs

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

func readHwmon(t testing.TB, h *driver.Hardware, o *hwmonOptions) ([]sensors.Sample, error) {
	t.Helper()
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	s, err := o.Open(t.Context(), h)
	if err != nil {
		return nil, err
	}
	return s.Next(t.Context())
}

func TestHwmonIsFoundByNameAndReadInItsUnits(t *testing.T) {
	h := sysfs(t, map[string]string{
		"hwmon0/name": "rpi_volt", "hwmon0/temp1_input": "1",
		"hwmon3/name": "board", "hwmon3/temp1_input": "-12345", "hwmon3/humidity1_input": "45678",
		"hwmon3/in0_input": "3301", "hwmon3/curr1_input": "250", "hwmon3/power1_input": "5250000",
		"hwmon3/fan1_input": "1200",
	})
	o := &hwmonOptions{Name: "board", Inputs: []string{"temp1", "humidity1", "in0", "curr1", "power1", "fan1"}}
	samples, err := readHwmon(t, h, o)
	names, got := values(samples)
	if err != nil || names != "temperature humidity voltage current power speed" ||
		!slices.Equal(got, []float64{-12.345, 45.678, 3.301, 0.25, 5.25, 1200}) {
		t.Error(names, got, err)
	}
	for i, want := range []string{"°C", "%", "V", "A", "W", "rpm"} {
		if unit := o.Quantities()[i].Unit; unit != want {
			t.Errorf("%s, want %s", unit, want)
		}
	}
}

func TestHwmonReadsTheTemperatureByDefault(t *testing.T) {
	o := newHwmon().(*hwmonOptions)
	o.Name = "cpu_thermal"
	h := sysfs(t, map[string]string{"hwmon0/name": "cpu_thermal", "hwmon0/temp1_input": "48312"})
	samples, err := readHwmon(t, h, o)
	if err != nil || !slices.Equal(samples, []sensors.Sample{{Quantity: "temperature", Value: 48.312}}) {
		t.Error(samples, err)
	}
}

func TestAmbiguousInputsAreReported(t *testing.T) {
	o := &hwmonOptions{Inputs: []string{"temp1", "temp2", "fan1"}}
	var names []string
	for _, q := range o.Quantities() {
		names = append(names, q.Name)
	}
	if want := []string{"temperature_temp1", "temperature_temp2", "speed"}; !slices.Equal(names, want) {
		t.Error(names)
	}
}

func TestOneInputThatFailsLeavesTheOthers(t *testing.T) {
	h := sysfs(t, map[string]string{
		"hwmon0/name": "x", "hwmon0/temp1_input": "20000", "hwmon0/temp2_input": "n/a",
		"hwmon0/temp3_input": "99000", "hwmon0/temp3_fault": "1",
	})
	samples, err := readHwmon(t, h, &hwmonOptions{Name: "x", Inputs: []string{"temp1", "temp2", "temp3", "temp4"}})
	if err != nil || samples[0].Err != nil || samples[0].Value != 20 {
		t.Fatal(samples, err)
	}
	for i, want := range []string{1: "is not a number", 2: "reports a fault", 3: "no such file"} {
		if want == "" {
			continue
		}
		if err := samples[i].Err; err == nil || !strings.Contains(err.Error(), want) || samples[i].Value != 0 {
			t.Errorf("%+v, want %q", samples[i], want)
		}
	}
}

func TestRemovedHwmonDeviceFails(t *testing.T) {
	h := sysfs(t, map[string]string{"hwmon0/name": "x"})
	_, err := readHwmon(t, h, &hwmonOptions{Name: "x", Inputs: []string{"temp1", "temp2"}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "hwmon0/temp1_input") {
		t.Error(err)
	}
}

func TestHwmonsWithTheSameNameNeedOptionDevice(t *testing.T) {
	h := sysfs(t, map[string]string{
		"hwmon0/name": "sht3x", "hwmon0/temp1_input": "20000", "hwmon0/device": "i2c-1/1-0044",
		"hwmon1/name": "sht3x", "hwmon1/temp1_input": "30000", "hwmon1/device": "i2c-1/1-0045",
	})
	o := &hwmonOptions{Name: "sht3x", Inputs: []string{"temp1"}}
	_, err := readHwmon(t, h, o)
	if err == nil || !strings.Contains(err.Error(), "add device:") || !strings.Contains(err.Error(), "i2c-1/1-0045") {
		t.Fatal(err)
	}
	o.Device = "1-0045"
	samples, err := readHwmon(t, h, o)
	if err != nil || samples[0].Value != 30 {
		t.Error(samples, err)
	}
}

func TestOptionDeviceMatchesWholePathElements(t *testing.T) {
	h := sysfs(t, map[string]string{
		"hwmon0/name": "sht3x", "hwmon0/temp1_input": "20000", "hwmon0/device": "i2c-1/1-0044",
		"hwmon1/name": "sht3x", "hwmon1/temp1_input": "30000", "hwmon1/device": "i2c-11/11-0044",
	})
	samples, err := readHwmon(t, h, &hwmonOptions{Name: "sht3x", Inputs: []string{"temp1"}, Device: "1-0044"})
	if err != nil || samples[0].Value != 20 {
		t.Error(samples, err)
	}
}

// An SHT31 as the kernel's driver sht3x shows it: what it measured, its limits
// and their alarms.
func TestAlarmKeepsTheValueStream(t *testing.T) {
	h := sysfs(t, map[string]string{
		"hwmon2/name": "sht3x", "hwmon2/device": "i2c-1/1-0044",
		"hwmon2/temp1_input": "-7312", "hwmon2/temp1_max": "60000", "hwmon2/temp1_alarm": "1",
		"hwmon2/humidity1_input": "81450", "hwmon2/humidity1_max": "80000", "hwmon2/humidity1_alarm": "1",
	})
	samples, err := readHwmon(t, h, &hwmonOptions{Name: "sht3x", Inputs: []string{"humidity1", "temp1"}})
	names, got := values(samples)
	if err != nil || names != "humidity temperature" || !slices.Equal(got, []float64{81.45, -7.312}) {
		t.Error(names, got, err)
	}
}

func TestMissingHwmonErrorListsThePresentOnes(t *testing.T) {
	h := sysfs(t, map[string]string{"hwmon0/name": "cpu_thermal", "hwmon1/name": "rpi_volt"})
	_, err := readHwmon(t, h, &hwmonOptions{Name: "cpu", Inputs: []string{"temp1"}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "there are cpu_thermal, rpi_volt") {
		t.Error(err)
	}
	_, err = readHwmon(t, sysfs(t, nil), &hwmonOptions{Name: "cpu", Inputs: []string{"temp1"}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nothing in") {
		t.Error(err)
	}
}

func TestHwmonOptionsSayWhatIsWrong(t *testing.T) {
	for _, o := range []*hwmonOptions{
		{Inputs: []string{"temp1"}},
		{Name: "../x", Inputs: []string{"temp1"}},
		{Name: "x"},
		{Name: "x", Inputs: []string{"temp1", "temp1"}},
		{Name: "x", Inputs: []string{"temp"}},
		{Name: "x", Inputs: []string{"../temp1"}},
		{Name: "x", Inputs: []string{"temp1_input"}},
	} {
		if p := o.Check(); len(p) != 1 {
			t.Errorf("%+v: %v", o, p)
		}
	}
}
