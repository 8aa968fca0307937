package sysfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

const aDS18B20 = "28-0316a2797bff"

// w1File returns the content of w1_slave for a scratchpad.
func w1File(scratchpad, verdict string, milli int) string {
	return fmt.Sprintf("%s : crc=%s %s\n%s t=%d", scratchpad, scratchpad[24:], verdict, scratchpad, milli)
}

// Scratchpads of a DS18B20 at 12 bits (datasheet, figure 9 and table 1), with
// the kernel's m°C: byte 6 is 0x10 less the low four bits, and 0x0C at power-on.
var (
	w1At25    = w1File("91 01 4b 46 7f ff 0f 10 25", "YES", 25062) // 0x0191 = 401/16
	w1AtMinus = w1File("f8 ff 4b 46 7f ff 08 10 33", "YES", -500)  // 0xfff8 = -8/16
	w1At84    = w1File("48 05 4b 46 7f ff 08 10 3c", "YES", 84500)
	w1True85  = w1File("50 05 4b 46 7f ff 10 10 5d", "YES", 85000)
	w1PowerOn = w1File("50 05 4b 46 7f ff 0c 10 1c", "YES", 85000)
)

type w1Bus struct {
	t    testing.TB
	h    *driver.Hardware
	file string
}

func newW1Bus(t testing.TB, id, file string) *w1Bus {
	t.Helper()
	return &w1Bus{t, sysTree(t, map[string]string{
		"sys/bus/w1/devices/" + id + "/" + file:              "",
		"sys/bus/w1/devices/w1_bus_master1/w1_master_slaves": id,
	}), file}
}

func (b *w1Bus) says(id, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.h.Sys, "bus/w1/devices", id, b.file), []byte(text+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *w1Bus) open(id string) sensors.Sensor {
	b.t.Helper()
	o := &w1Options{ID: id}
	if p := o.Check(); p != nil {
		b.t.Fatal(p)
	}
	s, err := o.Open(b.t.Context(), b.h)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func TestDS18B20IsReadInCelsius(t *testing.T) {
	for _, file := range []string{"w1_slave", "temperature"} {
		bus := newW1Bus(t, aDS18B20, file)
		s := bus.open(strings.ToUpper(aDS18B20))
		for text, want := range map[string]float64{w1At25: 25.062, w1AtMinus: -0.5, w1At84: 84.5} {
			if file == "temperature" {
				_, text, _ = strings.Cut(text, "t=")
			}
			bus.says(aDS18B20, text)
			if got := next(t, s); got != (sensors.Sample{Quantity: "temperature", Value: want}) {
				t.Errorf("%s: %+v, want %v", file, got, want)
			}
		}
	}
}

func TestPowerOnValue85IsRejected(t *testing.T) {
	const ds18s20 = "10-000802b4a1c3"
	// its power-on value, which is also its form of a true 85 °C
	s20PowerOn := w1File("aa 00 4b 46 ff ff 0c 10 87", "YES", 85000)
	for _, c := range []struct {
		name, id, file string
		says           []string
		refused        bool // the last of them
	}{
		{"first", aDS18B20, "w1_slave", []string{w1PowerOn}, true},
		{"after a room", aDS18B20, "w1_slave", []string{w1At25, w1PowerOn}, true},
		{"again and again", aDS18B20, "w1_slave", []string{w1At25, w1PowerOn, w1PowerOn, w1PowerOn}, true},
		{"after a sauna", aDS18B20, "w1_slave", []string{w1At84, w1PowerOn}, false},
		{"a copy that stays there", aDS18B20, "w1_slave", []string{w1At84, w1PowerOn, w1PowerOn}, false},
		{"measured, as its bytes say", aDS18B20, "w1_slave", []string{w1At25, w1True85}, false},
		{"measured first", aDS18B20, "w1_slave", []string{w1True85}, false},
		{"without bytes", aDS18B20, "temperature", []string{"25062", "85000"}, true},
		{"without bytes, from near", aDS18B20, "temperature", []string{"81000", "85000"}, false},
		{"without bytes, from above", aDS18B20, "temperature", []string{"92000", "85000"}, true},
		{"without bytes, from near above", aDS18B20, "temperature", []string{"89000", "85000"}, false},
		{"a hair away", aDS18B20, "temperature", []string{"85062"}, false},
		{"a DS18S20 from afar", ds18s20, "w1_slave", []string{s20PowerOn}, true},
		{"a DS18S20 from near", ds18s20, "w1_slave",
			[]string{w1File("a8 00 4b 46 ff ff 0c 10 00", "YES", 84000), s20PowerOn}, false},
	} {
		bus := newW1Bus(t, c.id, c.file)
		s := bus.open(c.id)
		var last sensors.Sample
		for _, text := range c.says {
			bus.says(c.id, text)
			last = next(t, s)
		}
		if c.refused && (last.Err == nil || last.Value != 0 || !strings.Contains(last.Err.Error(), "losing power")) ||
			!c.refused && (last.Err != nil || last.Value < 85) {
			t.Errorf("%s: %+v", c.name, last)
		}
	}
}

func TestCorruptReadsHaveAClearError(t *testing.T) {
	for text, want := range map[string]string{
		w1File("91 01 4b 46 7f ff 0f 10 26", "NO", 25062): "wrong checksum",
		"": "no answer",
		w1File("00 00 00 00 00 00 00 00 00", "YES", 0):                             "held low",
		w1File("ff ff ff ff ff ff ff ff ff", "NO", -62):                            "wrong checksum",
		w1File("ff 07 4b 46 7f ff 01 10 00", "YES", 127937):                        "127.937 °C is beyond",
		w1File("00 00 4b 46 7f ff 01 10 00", "YES", -127000):                       "-127 °C is beyond",
		"91 01 : crc=25 YES":                                                       "is not what w1_slave says",
		w1File("91 01 4b 46 7f ff 0f 10 25", "YES", 25062) + "\nand so on, and on": "is not what w1_slave says",
	} {
		bus := newW1Bus(t, aDS18B20, "w1_slave")
		s := bus.open(aDS18B20)
		bus.says(aDS18B20, text)
		samples, err := s.Next(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), aDS18B20) {
			t.Errorf("%q: %v %v, want %q", text, samples, err, want)
		}
	}
}

func TestMissingThermometerErrorListsThePresentOnes(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"there are " + aDS18B20: {"sys/bus/w1/devices/" + aDS18B20 + "/w1_slave": ""},
		"nothing is on the bus": {"sys/bus/w1/devices/w1_bus_master1/w1_master_slaves": "not found."},
		"dtoverlay=w1-gpio":     {},
	} {
		_, err := (&w1Options{ID: "28-000000000001"}).Open(t.Context(), sysTree(t, files))
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	bus := newW1Bus(t, aDS18B20, "w1_slave")
	s := bus.open(aDS18B20)
	if err := os.RemoveAll(filepath.Join(bus.h.Sys, "bus/w1/devices", aDS18B20)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestNoReadBeginsAfterTheEnd(t *testing.T) {
	bus := newW1Bus(t, aDS18B20, "w1_slave")
	s := bus.open(aDS18B20)
	bus.says(aDS18B20, w1At25)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if samples, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(samples, err)
	}
}

func TestW1OptionsSayWhatIsWrong(t *testing.T) {
	for _, id := range []string{"", "28", "0316a2797bff", "28-0316a2797bf", "29-0316a2797bff", "28-0316a2797bff/..",
		"28-0316a2797bfg"} {
		if p := (&w1Options{ID: id}).Check(); len(p) != 1 || p[0].Key != "id" {
			t.Errorf("%q: %v", id, p)
		}
	}
	if got := (&w1Options{ID: "3B-0316A2797BFF"}).Claims(); got[0] != "w1 3b-0316a2797bff" {
		t.Error(got)
	}
}

// A MAX31850 has the family of the DS1825. Its datasheet's table 3: 1600 °C is
// 0x6400, 100.75 is 0x064c, -250 is 0xf060; byte 4 begins with four ones.
func TestThermocoupleIsReadAbove125Celsius(t *testing.T) {
	const thermocouple = "3b-0000001921e8"
	for _, c := range []struct {
		file, says string
		celsius    float64
		fault      string
	}{
		{"w1_slave", w1File("00 64 90 19 f0 ff ff ff 5a", "YES", 1600000), 1600, ""},
		{"w1_slave", w1File("4c 06 90 19 f0 ff ff ff 5a", "YES", 100750), 100.75, ""},
		{"w1_slave", w1File("60 f0 90 19 f3 ff ff ff 5a", "YES", -250000), -250, ""},
		{"w1_slave", w1File("4e 06 90 19 f0 ff ff ff 5a", "YES", 100875), 100.75, ""}, // the reserved bit
		{"w1_slave", w1File("50 05 90 19 f0 ff ff ff 5a", "YES", 85000), 85, ""},
		{"w1_slave", w1File("4d 06 91 19 f0 ff ff ff 5a", "YES", 100812), 0, "is open"},
		{"w1_slave", w1File("4d 06 92 19 f0 ff ff ff 5a", "YES", 100812), 0, "short circuit to ground"},
		{"w1_slave", w1File("4d 06 94 19 f0 ff ff ff 5a", "YES", 100812), 0, "short circuit to the supply"},
		{"w1_slave", w1File("4d 06 90 19 f0 ff ff ff 5a", "YES", 100812), 0, "a fault"},
		{"w1_slave", w1File("fc 7f 90 19 f0 ff ff ff 5a", "YES", 2047750), 0,
			"beyond what the part can measure (-270 to 1768)"},
		// a DS1825
		{"w1_slave", w1File("00 64 4b 46 7f ff 0c 10 5a", "YES", 1600000), 0,
			"beyond what the part can measure (-55 to 125)"},
		{"temperature", "1600000", 1600, ""},
		{"temperature", "1600062", 0, "beyond"}, // with the bit of a fault
		{"temperature", "25062", 25.062, ""},    // a DS1825
	} {
		bus := newW1Bus(t, thermocouple, c.file)
		s := bus.open(thermocouple)
		bus.says(thermocouple, c.says)
		samples, err := s.Next(t.Context())
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, %v, want %q", c.says, samples, err, c.fault)
			}
		} else if err != nil || samples[0].Err != nil || samples[0].Value != c.celsius {
			t.Errorf("%s: %v, %v, want %v", c.says, samples, err, c.celsius)
		}
	}
}

// The kernel divides by byte 7 of a DS18S20's, and makes 0 °C of it where it is 0.
func TestDS18S20WithoutACountIsAnError(t *testing.T) {
	const ds18s20 = "10-000802b4a1c3"
	bus := newW1Bus(t, ds18s20, "w1_slave")
	s := bus.open(ds18s20)
	bus.says(ds18s20, w1File("2a 00 4b 46 ff ff 0c 00 87", "YES", 0))
	if samples, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing measured") {
		t.Error(samples, err)
	}
}

func FuzzW1Slave(f *testing.F) {
	for _, text := range []string{w1At25, w1AtMinus, w1PowerOn, "", w1File("91 01 4b 46 7f ff 0f 10 26", "NO", 25062)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for family, l := range map[string]limits{"28": w1Limits, "10": w1Limits, "3b": max31850Limits} {
			r, err := parseW1Slave(family, text)
			if err == nil && (len(r.scratchpad) != 9 || r.celsius < l.min || r.celsius > l.max ||
				!strings.Contains(text, "YES")) {
				t.Errorf("%s: %q is %+v", family, text, r)
			}
		}
	})
}
