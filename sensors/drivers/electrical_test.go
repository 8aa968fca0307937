package drivers

import (
	"math"
	"strings"
	"testing"
)

func TestVoltageNeedsItsUnit(t *testing.T) {
	for text, want := range map[string]volts{"3.3V": 3.3, "5 V": 5, "250mV": 0.25, "0V": 0} {
		var v volts
		if err := v.UnmarshalText([]byte(text)); err != nil || v != want {
			t.Errorf("%s: %v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "3.3", "-1V", "1e3V", "V", "3.3v", "3,3V", "3.3kV"} {
		var v volts
		if err := v.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "3.3V or 250mV") {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
}

func TestResistanceForms(t *testing.T) {
	for text, want := range map[string]ohms{
		"470": 470, "0.1": 0.1, "0R1": 0.1, "R100": 0.1, "k47": 470, "4.7k": 4700, "4k7": 4700, "1M": 1e6, "1M5": 1.5e6,
		"10kΩ": 10e3, "22 ohm": 22, "2.2 kohms": 2200,
	} {
		var r ohms
		if err := r.UnmarshalText([]byte(text)); err != nil || math.Abs(float64(r-want)) > 1e-9*float64(want) {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "k", "-1k", "4,7k", "R", "1G", "10K"} {
		var r ohms
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "4.7k or 4k7") {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

func FuzzElectrical(f *testing.F) {
	f.Add("3.3V")
	f.Add("4k7")
	f.Add(strings.Repeat("9", 400) + "V")
	f.Fuzz(func(t *testing.T, text string) {
		var v volts
		var r ohms
		if v.UnmarshalText([]byte(text)) == nil && (v < 0 || math.IsInf(float64(v), 0)) ||
			r.UnmarshalText([]byte(text)) == nil && (r < 0 || math.IsInf(float64(r), 0)) {
			t.Errorf("%q: %v, %v", text, float64(v), float64(r))
		}
	})
}
