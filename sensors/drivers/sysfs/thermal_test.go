package sysfs

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

func zone(n, kind, temp string) map[string]string {
	dir := "sys/class/thermal/thermal_zone" + n
	return map[string]string{dir + "/type": kind, dir + "/temp": temp}
}

func readThermal(t testing.TB, kind string, zones ...map[string]string) ([]sensors.Sample, error) {
	t.Helper()
	files := map[string]string{}
	for _, z := range zones {
		for path, text := range z {
			files[path] = text
		}
	}
	o := newThermal().(*thermalOptions)
	if kind != "" {
		o.Type = kind
	}
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	s, err := o.Open(t.Context(), sysTree(t, files))
	if err != nil {
		return nil, err
	}
	return s.Next(t.Context())
}

func TestZoneIsFoundByItsType(t *testing.T) {
	gpu, cpu := zone("0", "gpu-thermal", "39000"), zone("1", "cpu-thermal", "48312")
	for kind, want := range map[string]float64{"": 48.312, "gpu-thermal": 39} {
		samples, err := readThermal(t, kind, gpu, cpu)
		if err != nil || !slices.Equal(samples, []sensors.Sample{{Quantity: "temperature", Value: want}}) {
			t.Error(kind, samples, err)
		}
	}
}

func TestAmbiguousZoneErrorListsTheZones(t *testing.T) {
	_, err := readThermal(t, "cpu", zone("0", "cpu-thermal", "48312"), zone("1", "rp1_adc", "40000"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "there are cpu-thermal, rp1_adc") {
		t.Error(err)
	}
	_, err = readThermal(t, "acpitz", zone("0", "acpitz", "48312"), zone("1", "acpitz", "40000"))
	if err == nil || !strings.Contains(err.Error(), "thermal_zone0, thermal_zone1 have this name") {
		t.Error(err)
	}
	for temp, want := range map[string]string{"": "is not a number", "hot": "is not a number",
		"-274000": "not a temperature", "2147483": "not a temperature"} {
		if _, err := readThermal(t, "", zone("0", "cpu-thermal", temp)); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", temp, err, want)
		}
	}
	for _, kind := range []string{"", "../x"} {
		if p := (&thermalOptions{Type: kind}).Check(); len(p) != 1 {
			t.Errorf("%q: %v", kind, p)
		}
	}
}

func TestZoneAboveSiliconLimitsIsAnError(t *testing.T) {
	for temp, good := range map[string]bool{"-60000": true, "200000": true, "-60001": false, "200001": false} {
		if samples, err := readThermal(t, "", zone("0", "cpu-thermal", temp)); (err == nil) != good {
			t.Errorf("%s: %v, %v", temp, samples, err)
		}
	}
}
