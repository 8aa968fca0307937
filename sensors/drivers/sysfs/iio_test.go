package sysfs

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

// i2cIIO is the IIO device number n of an I2C device, with its channels.
func i2cIIO(files map[string]string, n, device, part, name string, channels map[string]string) {
	dir := "sys/devices/platform/soc/fe804000.i2c/i2c-1/" + device
	files[dir+"/name"] = part
	files["sys/bus/iio/devices/iio:device"+n] = "->" + dir + "/iio:device" + n
	channels["name"] = name
	for file, text := range channels {
		files[dir+"/iio:device"+n+"/"+file] = text
	}
}

func readIIO(t testing.TB, files map[string]string, o driver.Options) ([]sensors.Sample, error) {
	t.Helper()
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	s, err := o.Open(t.Context(), sysTree(t, files))
	if err != nil {
		return nil, err
	}
	return s.Next(t.Context())
}

// Values of a BME280 in Kaohsiung in December, as its driver writes them.
func bme280Files() map[string]string {
	files := map[string]string{}
	i2cIIO(files, "0", "1-0076", "bme280", "bme280", map[string]string{
		"in_humidityrelative_input": "39396", "in_pressure_input": "102.129031250", "in_temp_input": "24380"})
	return files
}

func TestKnownIIOPartNeedsOnlyItsName(t *testing.T) {
	o := &iioOptions{Name: "bme280"}
	samples, err := readIIO(t, bme280Files(), o)
	names, got := values(samples)
	if err != nil || names != "humidity temperature pressure" || !slices.Equal(got, []float64{39.4, 24.38, 1021.29}) {
		t.Error(names, got, err)
	}
	for i, want := range []string{"%", "°C", "hPa"} {
		if q := o.Quantities()[i]; q.Unit != want || q.Class != q.Name {
			t.Errorf("%+v, want %s", q, want)
		}
	}
}

// An Si7021's driver names its IIO device by the address and has raw values:
// the temperature of code 26212 is 26212*175.72/65536 - 46.85 = 23.43 °C, the humidity
// of 25000 is 25000*125/65536 - 6 = 41.68 %; the kernel's offsets are
// -46.85*65536/175.72 = -17473 and -6*65536/125 = -3145.728.
func TestRawValuesGetTheirOffsetAndScale(t *testing.T) {
	files := map[string]string{}
	i2cIIO(files, "1", "1-0040", "si7020", "1-0040", map[string]string{
		"in_temp_raw": "26212", "in_temp_offset": "-17473", "in_temp_scale": "2.681274414",
		"in_humidityrelative_raw": "25000", "in_humidityrelative_offset": "-3145.728000",
		"in_humidityrelative_scale": "1.907348"})
	samples, err := readIIO(t, files, &iioOptions{Name: "si7020"})
	names, got := values(samples)
	if err != nil || names != "humidity temperature" || !slices.Equal(got, []float64{41.68, 23.432}) {
		t.Error(names, got, err)
	}
	if samples, err := readIIO(t, files, &iioOptions{Name: "1-0040", Inputs: []string{"in_temp"}}); err != nil ||
		samples[0].Value != 23.432 {
		t.Error(samples, err)
	}
}

func TestIIOTypesUseHomeAssistantUnits(t *testing.T) {
	files := map[string]string{}
	i2cIIO(files, "0", "1-0061", "x", "x", map[string]string{
		"in_concentration_co2_raw": "423", "in_concentration_co2_scale": "0.000100000", // an SCD30: 0.0423 %
		"in_illuminance_raw": "300", "in_illuminance_scale": "0.833333", // a BH1750
		// an ADS1115 at ±4.096 V
		"in_voltage0_raw": "13200", "in_voltage1_raw": "-8", "in_voltage_scale": "0.125000000",
		"in_voltage0-voltage1_raw": "13208", "in_voltage-voltage_scale": "0.125000000",
		"in_current2_raw": "1500", "in_power1_raw": "7250", "in_resistance_input": "11830", // milliamps, milliwatts
		"in_temp_ambient_raw": "14775", "in_temp_object_raw": "15000", "in_temp_offset": "-13657.500000", "scale": "20",
	})
	o := &iioOptions{Name: "x", Inputs: []string{"in_concentration_co2", "in_illuminance", "in_voltage0", "in_voltage1",
		"in_voltage0-voltage1", "in_current2", "in_power1", "in_resistance", "in_temp_ambient", "in_temp_object"}}
	samples, err := readIIO(t, files, o)
	names, got := values(samples)
	if want := "carbon_dioxide illuminance voltage0 voltage1 voltage0-voltage1 current power resistance " +
		"temperature_ambient temperature_object"; err != nil || names != want {
		t.Error(names, err)
	}
	if want := []float64{423, 250, 1.65, -0.001, 1.651, 30, 145, 11830, 22.35, 26.85}; !slices.Equal(got, want) {
		t.Error(got, want)
	}
	for i, unit := range []string{"ppm", "lx", "V", "V", "V", "A", "W", "Ω", "°C", "°C"} {
		if got := o.Quantities()[i].Unit; got != unit {
			t.Errorf("%s: %s, want %s", o.Inputs[i], got, unit)
		}
	}
}

// A load cell at an AD7124 with a gain of 128: 2.5 V / 128 / 2^23 are 2.33 nV.
func TestRoundingKeepsTheResolutionOfTheConverter(t *testing.T) {
	files := map[string]string{}
	i2cIIO(files, "0", "spi0.0", "ad7124-4", "ad7124-4", map[string]string{
		"in_voltage0-voltage1_raw": "4294", "in_voltage-voltage_scale": "0.000002328", // 9.996432 µV
		"in_current0_raw": "-3", "in_current_scale": "0.000100000"})
	samples, err := readIIO(t, files, &iioOptions{Name: "ad7124-4",
		Inputs: []string{"in_voltage0-voltage1", "in_current0"}})
	_, got := values(samples)
	if err != nil || !slices.Equal(got, []float64{0.000009996, -0.0000003}) {
		t.Error(got, err)
	}
}

func TestImpossibleKernelValuesAreErrors(t *testing.T) {
	for input, file := range map[string]string{"temp1": "in_temp", "humidity1": "in_humidityrelative"} {
		for _, milli := range []string{"-300000", "-273151", "999999"} {
			if input == "temp1" && milli == "999999" {
				continue // a kiln
			}
			h := sysfs(t, map[string]string{"hwmon0/name": "x", "hwmon0/" + input + "_input": milli})
			if samples, err := readHwmon(t, h, &hwmonOptions{Name: "x", Inputs: []string{input}}); err == nil {
				t.Errorf("hwmon %s %s: %v", input, milli, samples)
			}
			files := map[string]string{}
			i2cIIO(files, "0", "1-0076", "x", "x", map[string]string{file + "_input": milli})
			if samples, err := readIIO(t, files, &iioOptions{Name: "x", Inputs: []string{file}}); err == nil {
				t.Errorf("iio %s %s: %v", file, milli, samples)
			}
		}
	}
	for _, c := range []struct{ file, text string }{
		{"in_illuminance_input", "-1"}, {"in_concentration_co2_input", "-0.01"}, {"in_concentration_co2_input", "101"},
		{"in_concentration_input", "101"}, {"in_resistance_input", "-1"},
	} {
		files := map[string]string{}
		i2cIIO(files, "0", "1-0076", "x", "x", map[string]string{c.file: c.text})
		if samples, err := readIIO(t, files, &iioOptions{Name: "x",
			Inputs: []string{strings.TrimSuffix(c.file, "_input")}}); err == nil {
			t.Errorf("%s %s: %v", c.file, c.text, samples)
		}
	}
	h := sysfs(t, map[string]string{"hwmon0/name": "x", "hwmon0/fan1_input": "-1", "hwmon0/humidity1_input": "100800",
		"hwmon0/curr1_input": "-250"})
	samples, err := readHwmon(t, h, &hwmonOptions{Name: "x", Inputs: []string{"fan1", "humidity1", "curr1"}})
	if err != nil || samples[0].Err == nil || samples[1].Value != 100 || samples[2].Value != -0.25 {
		t.Error(samples, err)
	}
}

func TestIIODevicesWithTheSameNameNeedOptionDevice(t *testing.T) {
	files := bme280Files()
	i2cIIO(files, "1", "1-0077", "bme280", "bme280", map[string]string{"in_temp_input": "-5120"})
	o := &iioOptions{Name: "bme280", Inputs: []string{"in_temp"}}
	if _, err := readIIO(t, files, o); err == nil || !strings.Contains(err.Error(), "add device:") ||
		!strings.Contains(err.Error(), "i2c-1/1-0077") {
		t.Error(err)
	}
	o.Device = "1-0077"
	if samples, err := readIIO(t, files, o); err != nil || samples[0].Value != -5.12 {
		t.Error(samples, err)
	}
}

func TestMissingPartErrorListsThePresentOnes(t *testing.T) {
	_, err := readIIO(t, bme280Files(), &iioOptions{Name: "bmp280"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "there are bme280") {
		t.Error(err)
	}
	_, err = readIIO(t, bme280Files(), &iioOptions{Name: "bme280", Inputs: []string{"in_voltage3"}})
	if err == nil || !strings.Contains(err.Error(),
		"no in_voltage3 (there are in_humidityrelative, in_pressure, in_temp)") {
		t.Error(err)
	}
	if _, err = readIIO(t, nil, &iioOptions{Name: "bme280"}); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "nothing in") {
		t.Error(err)
	}
}

func TestImpossibleValuesAreErrors(t *testing.T) {
	for text, want := range map[string]string{
		"-273151": "is not possible (-273.15", "": "is not a number", "nan": "is not a number",
		"1e3": "is not a number",
	} {
		files := map[string]string{}
		i2cIIO(files, "0", "1-0076", "bme280", "bme280", map[string]string{"in_temp_input": text})
		_, err := readIIO(t, files, &iioOptions{Name: "bme280", Inputs: []string{"in_temp"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c, err := parseIIOChannel("in_humidityrelative")
	if err != nil {
		t.Fatal(err)
	}
	for milli, want := range map[float64]float64{102_300: 100, -1200: 0, 99_999: 100, 55_555: 55.56} {
		if got, err := c.value(milli, 0); got != want || err != nil {
			t.Errorf("%v is %v, %v, want %v", milli, got, err, want)
		}
	}
	if got, err := c.value(118_990, 0); err == nil { // an HTU21 on a bus of ones
		t.Error(got)
	}
}

func TestIIOOptionsSayWhatIsWrong(t *testing.T) {
	for want, o := range map[string]*iioOptions{
		"is missing or not a name": {},
		`what "ads1115" measures`:  {Name: "ads1115"},
		"write in_temp":            {Name: "bme280", Inputs: []string{"in_temp_input"}},
		"is not a valid input":     {Name: "bme280", Inputs: []string{"../in_temp"}},
		"known are concentration":  {Name: "bme280", Inputs: []string{"in_magn_x"}},
		"is there twice":           {Name: "bme280", Inputs: []string{"in_temp", "in_temp"}},
		`"in_voltage0-current1"`:   {Name: "x", Inputs: []string{"in_voltage0-current1"}},
	} {
		if p := o.Check(); len(p) != 1 || !strings.Contains(p[0].Text, want) {
			t.Errorf("%+v: %v, want %q", o, p, want)
		}
	}
}

func TestEveryKnownPartHasInputsThatAreKnown(t *testing.T) {
	for name, inputs := range iioParts {
		o := &iioOptions{Name: name}
		if p := o.Check(); p != nil || len(o.Quantities()) != len(inputs) {
			t.Error(name, p)
		}
	}
}

func FuzzIIOChannel(f *testing.F) {
	for _, s := range []string{"in_temp", "in_voltage0-voltage1", "in_concentration_co2", "in_temp_object", "in_",
		"in_temp_raw"} {
		f.Add(s, 1.0)
	}
	f.Fuzz(func(t *testing.T, input string, kernels float64) {
		c, err := parseIIOChannel(input)
		if err != nil {
			return
		}
		if strings.ContainsAny(c.input, "/. ") || !sensors.IsName(c.Name) {
			t.Errorf("%q is %+v", input, c)
		}
		if x, err := c.value(kernels, 0); err == nil && c.Class == "humidity" && !(x >= 0 && x <= 100) &&
			!math.IsNaN(kernels) {
			t.Errorf("%q %v is %v", input, kernels, x)
		}
	})
}
