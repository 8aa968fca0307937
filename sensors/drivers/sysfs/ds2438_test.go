package sysfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

const aDS2438 = "26-000001a2b3c4"

// ds2438Tree is a machine with a part whose files say so; no file where it is empty.
func ds2438Tree(t testing.TB, vdd, vad, temperature, iad string) *driver.Hardware {
	t.Helper()
	files := map[string]string{"sys/bus/w1/devices/" + aDS2438 + "/id": "binary",
		"sys/bus/w1/devices/w1_bus_master1/w1_master_slaves": aDS2438}
	for name, text := range map[string]string{"vdd": vdd, "vad": vad, "temperature": temperature, "iad": iad} {
		if text != "" {
			files["sys/bus/w1/devices/"+aDS2438+"/"+name] = text
		}
	}
	return sysTree(t, files)
}

// Values of the datasheet's tables: temperature 0x7d00 is 125 °C, 0x1900 is 25.0625 °C with
// 0x1910, 0xc900 is -55 °C; voltages are in 10 mV. The current register 0x0140 at 0.05 ohms is
// 320/(4096*0.05) = 1.5625 A.
func TestADS2438IsReadThroughTheKernelsFiles(t *testing.T) {
	o := &ds2438Options{ID: strings.ToUpper(aDS2438), Shunt: 0.05}
	if p := o.Check(); p != nil || !slices.Equal(o.Claims(), []string{"w1 " + aDS2438}) {
		t.Fatal(p, o.Claims())
	}
	for _, c := range []struct {
		vdd, vad, temp, iad string
		want                []float64
	}{
		{"501", "248", "6416", "320", []float64{5.01, 2.48, 25.063, 1.563}},
		{"330", "0", "-14080", "-320", []float64{3.3, 0, -55, -1.563}},
		{"1000", "1023", "32000", "0", []float64{10, 10.23, 125, 0}},
	} {
		s, err := o.Open(t.Context(), ds2438Tree(t, c.vdd, c.vad, c.temp, c.iad))
		if err != nil {
			t.Fatal(err)
		}
		samples, err := s.Next(t.Context())
		names, got := values(samples)
		if err != nil || names != "supply voltage temperature current" || !slices.Equal(got, c.want) {
			t.Errorf("%s %v, %v; want %v", names, got, err, c.want)
		}
		for _, sample := range samples {
			if sample.Err != nil {
				t.Error(sample)
			}
		}
	}
	if q := (&ds2438Options{ID: aDS2438}).Quantities(); len(q) != 3 {
		t.Errorf("without a shunt: %v", q)
	}
}

// A wire that is held low reads zeros, whose checksum is right.
func TestDS2438OnALowWireIsAnError(t *testing.T) {
	for _, c := range []struct{ vdd, want string }{
		{"0", "w1 " + aDS2438 + ": supply 0 V is beyond"},
		{"5x", "is not a number"},
	} {
		s, err := (&ds2438Options{ID: aDS2438}).Open(t.Context(), ds2438Tree(t, c.vdd, "0", "0", ""))
		if err != nil {
			t.Fatal(err)
		}
		if samples, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %v; want %s", samples, err, c.want)
		}
	}
}

func TestDS2438ReadsTheOtherValuesIfOneFails(t *testing.T) {
	s, err := (&ds2438Options{ID: aDS2438}).Open(t.Context(), ds2438Tree(t, "500", "2000", "256", ""))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := s.Next(t.Context())
	if err != nil || len(samples) != 3 || samples[0].Value != 5 || samples[1].Err == nil || samples[2].Value != 1 {
		t.Error(samples, err)
	}
}

func TestMissingDS2438SaysWhatToDo(t *testing.T) {
	h := ds2438Tree(t, "", "", "", "")
	if _, err := (&ds2438Options{ID: aDS2438}).Open(t.Context(), h); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "modprobe w1_ds2438") {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(h.Sys, "bus/w1/devices", aDS2438)); err != nil {
		t.Fatal(err)
	}
	if _, err := (&ds2438Options{ID: aDS2438}).Open(t.Context(), h); err == nil ||
		!strings.Contains(err.Error(), "nothing is on the bus") {
		t.Error(err)
	}
	for want, o := range map[string]*ds2438Options{
		`"28-0316a2797bff" is missing or is not`: {ID: aDS18B20},
		"-1 is not between 0 and 1000 ohms":      {ID: aDS2438, Shunt: -1},
	} {
		if p := o.Check(); len(p) != 1 || !strings.Contains(p[0].Text, want) {
			t.Errorf("%v, want %s", p, want)
		}
	}
}

// Any content of a file gives an error or a possible value.
func FuzzDS2438(f *testing.F) {
	for _, text := range []string{"501", "-14080", "", "1e3", "99999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) || text == "" {
			return // no file of the kernel's
		}
		dir := t.TempDir()
		s := &ds2438{id: aDS2438, dir: dir}
		for _, v := range (&ds2438Options{Shunt: 0.05}).values() {
			if err := os.WriteFile(filepath.Join(dir, v.file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := s.read(v); err == nil && !(got >= v.min && got <= v.max) {
				t.Errorf("%q: %s %v", text, v.Name, got)
			}
		}
	})
}
