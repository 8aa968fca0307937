package sysfs

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

// max31865Files is the IIO device of the kernel's driver on SPI, with a count.
func max31865Files(count, fault string) map[string]string {
	const dir = "sys/devices/platform/soc/fe204000.spi/spi_master/spi0/spi0.0/iio:device0"
	return map[string]string{
		"sys/bus/iio/devices/iio:device0": "->" + dir,
		dir + "/name":                     "max31865",
		dir + "/in_temp_raw":              count,
		dir + "/in_temp_scale":            "31.250000",
		dir + "/fault_ovuv":               fault,
	}
}

// Resistances of a Pt100 by the table of IEC 60751. With a reference of 400 ohms a count is
// R/400 * 32768: 8192 at 0 °C, as in the part's datasheet (19-6478, table 9).
func TestPlatinumTableOfIEC60751(t *testing.T) {
	for ohms, want := range map[float64]float64{18.52: -200, 60.26: -100, 80.31: -50, 100: 0, 107.79: 20, 138.51: 100,
		175.86: 200, 280.98: 500, 390.48: 850} {
		if got := platinumCelsius(ohms / 100); math.Abs(got-want) > 0.03 {
			t.Errorf("%v ohms are %v °C, want %v", ohms, got, want)
		}
	}
}

// 11347 counts of 400 ohms are 138.513 ohms, and the table has 138.51 at 100 °C and 0.38 more
// for each degree; 8214 of 4300 are 1077.88, where 20 °C has 1077.94.
func TestMAX31865CountConversion(t *testing.T) {
	for _, c := range []struct {
		count string
		o     max31865Options
		want  float64
	}{
		{"8192", max31865Options{Nominal: 100, Reference: 400}, 0},
		{"11347", max31865Options{Nominal: 100, Reference: 400}, 100.02},
		{"7620", max31865Options{Nominal: 100, Reference: 430}, -0.02},
		{"8214", max31865Options{Nominal: 1000, Reference: 4300}, 19.99},
		{"4937", max31865Options{Nominal: 100, Reference: 400}, -99.97},
	} {
		c.o.Name = "max31865"
		samples, err := readIIO(t, max31865Files(c.count, "0"), &c.o)
		if err != nil || !slices.Equal(samples, []sensors.Sample{{Quantity: "temperature", Value: c.want}}) {
			t.Errorf("%s: %v, %v; want %v", c.count, samples, err, c.want)
		}
	}
}

func TestMAX31865WithoutAThermometerIsAnError(t *testing.T) {
	for _, c := range []struct{ count, fault, want string }{
		{"32767", "0", "the thermometer is open"},
		{"0", "0", "short circuit"},
		{"8192", "1", "beyond its supply"},
		{"500", "0", "is beyond what platinum measures"},
		{"x", "0", "is not a number"},
	} {
		samples, err := readIIO(t, max31865Files(c.count, c.fault), newMAX31865())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, %v", c, samples, err)
		}
	}
}

func TestMAX31865OptionsSayWhatIsWrong(t *testing.T) {
	for want, o := range map[string]*max31865Options{
		"1 is not between 10 and 10000 ohms":          {Name: "max31865", Nominal: 1, Reference: 4},
		"430 ohms do not fit a thermometer of 1000":   {Name: "max31865", Nominal: 1000, Reference: 430},
		"is missing or not a name":                    {Nominal: 100, Reference: 430},
		"100000 ohms do not fit a thermometer of 100": {Name: "max31865", Nominal: 100, Reference: 1e5},
	} {
		if p := o.Check(); len(p) != 1 || !strings.Contains(p[0].Text, want) {
			t.Errorf("%v, want %s", p, want)
		}
	}
}

// Any data and options give an error or a temperature in the range of platinum.
func FuzzMAX31865(f *testing.F) {
	f.Add(8192.0, 100.0, 430.0)
	f.Add(32766.0, 10.0, 1000.0)
	f.Fuzz(func(t *testing.T, count, nominal, reference float64) {
		o := &max31865Options{Name: "max31865", Nominal: nominal, Reference: reference}
		if o.Check() != nil {
			return
		}
		if got, err := o.celsius(count, false); err == nil && !(got >= -200 && got <= 850) {
			t.Errorf("%v of %v to %v: %v °C", count, nominal, reference, got)
		}
	})
}
