package drivers

import (
	"math"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
)

func TestImpossibleValueErrorHasItsUnit(t *testing.T) {
	p, err := (&onI2C{I2C: 1, Address: 0x38}).openPart(wired(i2cfake.Reading(0)))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []float64{-40.01, 85.01, math.NaN(), math.Inf(1), math.Inf(-1)} {
		got, err := samples(p, measured{humidity, 50, limits{0, 100}}, measured{temperature, value, limits{-40, 85}})
		if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x38: temperature ") ||
			!strings.Contains(err.Error(), " °C is beyond what the part can measure (-40 to 85)") || got != nil {
			t.Errorf("%v: %v, %v", value, got, err)
		}
	}
}

// The result is 0, not -0.
func TestValuesAreRoundedToHundredths(t *testing.T) {
	p, err := (&onI2C{I2C: 1, Address: 0x38}).openPart(wired(i2cfake.Reading(0)))
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[float64]float64{-0.004: 0, -0.006: -0.01, 45.199999: 45.2, 85.004: 85, -40.004: -40} {
		got, err := samples(p, measured{temperature, value, limits{-40, 85}})
		if err != nil || got[0].Value != want || want == 0 && math.Signbit(got[0].Value) {
			t.Errorf("%v: %v, %v; want %v", value, got, err, want)
		}
	}
}
