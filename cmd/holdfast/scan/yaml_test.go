package scan

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// check is `(echo 'mqtt: {server: embedded}'; holdfast scan --yaml) | holdfast check -c -`.
func check(t testing.TB, section string) []string {
	t.Helper()
	cfg, err := config.Parse("-", []byte("mqtt: {server: embedded}\n"+section))
	if err != nil {
		t.Fatalf("%v\n%s", err, section)
	}
	var all []string
	for _, s := range cfg.Sensors {
		all = append(all, s.Name+" "+s.Kind)
	}
	return all
}

func TestYAMLPassesCheckAndIsComplete(t *testing.T) {
	section := yaml(pi())
	all := check(t, section)
	for _, want := range []string{"aht20 aht20", "bme280 bme280", "cpu hwmon"} {
		if !slices.Contains(all, want) {
			t.Errorf("no %s among %q", want, all)
		}
	}
	for _, want := range []string{
		"  # i2c-1 0x29 answers: no kind reads it\n",
		"  # i2c-1 0x68: ds3231, held by the kernel's driver rtc-ds1307",
		"  # i2c-1 0x76 says that it is a BME280 (chip id 0x60).\n  bme280: {kind: bme280, i2c: \"1\", address: " +
			"0x76}\n",
		"  # i2c-1 0x77 answers: BMP180",
		"  # i2c-3: every address times out",
		"  # 1-wire 3a-00000012ab34 is not a thermometer",
		"  # Industrial I/O: permission denied\n",
		"  # contact_GPIO27: {kind: contact, gpio: GPIO27, pull: up, normally: closed}   # pin 13\n",
		"  # contact_gpiochip2_0: {kind: contact, gpio: gpiochip2/0, pull: up, normally: closed}\n",
	} {
		if !strings.Contains(section, want) {
			t.Errorf("no %q in\n%s", want, section)
		}
	}
	if strings.Contains(section, "gpio: GPIO17") || strings.Contains(section, "gpio: GPIO2,") ||
		strings.Contains(section, "GPIO43") {
		t.Errorf("a line that is no free one of the header\n%s", section)
	}
}

// The stanzas in comments pass the check too.
func TestContactsInCommentsPassCheck(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^  # (contact_)`)
	section := commented.ReplaceAllString(yaml(pi()), "  $1")
	if all := check(t, section); !slices.Contains(all, "contact_GPIO27 contact") ||
		!slices.Contains(all, "contact_gpiochip2_0 contact") {
		t.Errorf("%q", all)
	}
}

func TestTheOutputInCommentsPassesCheck(t *testing.T) {
	f := pi()
	f.chips[0].Lines = append(f.chips[0].Lines, scan.Line{Pin: "GPIO22", Header: 15},
		scan.Line{Pin: "GPIO5", Header: 29}, scan.Line{Pin: "GPIO6", Header: 31})
	section := yaml(f)
	want := "# outputs:\n#   siren: {gpio: GPIO5, active: low, class: siren, max_on: 3m}   # pin 29\n"
	if !strings.Contains(section, want) {
		t.Fatalf("no %q in\n%s", want, section)
	}
	section = regexp.MustCompile(`(?m)^# (outputs:|  siren:)`).ReplaceAllString(section, "$1")
	check(t, section)
	cfg, err := config.Parse("scan", []byte("mqtt: {server: embedded}\n"+section))
	if err != nil || len(cfg.Outputs) != 1 {
		t.Errorf("%d outputs: %v", len(cfg.Outputs), err)
	}
	for i := range f.chips {
		for j := range f.chips[i].Lines {
			f.chips[i].Lines[j].Used = true
		}
	}
	if section := yaml(f); strings.Contains(section, "outputs:") {
		t.Errorf("an output at a line that is not free:\n%s", section)
	}
}

// Every kind that the table has for an address becomes a sensor that passes the check, or a
// comment because it needs more keys; two sensors never share an address.
func TestMostLikelyKindIsWrittenAndOthersAreListed(t *testing.T) {
	var f findings
	byAddress := map[uint16][]string{}
	for _, kind := range drivers.Kinds() {
		for _, addr := range drivers.Addresses(kind) {
			byAddress[addr] = append(byAddress[addr], kind)
		}
	}
	bus := scan.Adapter{Bus: 7}
	for addr, kinds := range byAddress {
		bus.Parts = append(bus.Parts, scan.Part{Address: addr, Kinds: kinds})
	}
	f.buses = []scan.Adapter{bus}
	section := yaml(f)
	check(t, section)
	for addr, kinds := range byAddress {
		at := fmt.Sprintf("address: 0x%02x", addr)
		if strings.Count(section, at) != 1 {
			t.Errorf("%d sensors with %s", strings.Count(section, at), at)
		}
		if len(kinds) > 1 && !strings.Contains(section,
			fmt.Sprintf("  # i2c-7 0x%02x may also be another kind: %s.\n", addr, strings.Join(kinds[1:], ", "))) {
			t.Errorf("0x%02x: the others of %v are not named", addr, kinds)
		}
	}
}

func TestPartsOfOneKindHaveDifferentNames(t *testing.T) {
	f := findings{buses: []scan.Adapter{
		{Bus: 1, Parts: []scan.Part{{Address: 0x76, Kinds: []string{"bme280"}},
			{Address: 0x77, Kinds: []string{"bme280"}}}},
		{Bus: 3, Parts: []scan.Part{{Address: 0x76, Kinds: []string{"bme280"}}}},
	}}
	if got := check(t, yaml(f)); !slices.Equal(got, []string{"bme280 bme280", "bme280_2 bme280", "bme280_3 bme280"}) {
		t.Errorf("%q", got)
	}
}

func TestKindWithMissingKeysIsAComment(t *testing.T) {
	s := &section{}
	s.add("door", `kind: contact, pull: up`)
	if s.names != nil || !strings.HasPrefix(s.text.String(), "  # door: {kind: contact, pull: up}") {
		t.Error(s.text.String())
	}
}

func TestDevicesWithTheSameNameAreDistinguished(t *testing.T) {
	twins := []scan.Device{
		{Name: "sht3x", Option: "i2c-1/1-0044", Inputs: []string{"humidity1", "temp1"}},
		{Name: "sht3x", Option: "i2c-1/1-0045", Inputs: []string{"humidity1", "temp1"}},
		{Name: "w1_slave_temp", Inputs: []string{"temp1"}},
	}
	section := yaml(findings{kernel: []subsystem{{"hwmon", "", twins, nil}}})
	got := check(t, section)
	if !slices.Contains(got, "sht3x hwmon") || !slices.Contains(got, "sht3x_2 hwmon") ||
		!strings.Contains(section, `device: "i2c-1/1-0045", inputs: [humidity1, temp1]`) {
		t.Errorf("%q\n%s", got, section)
	}
}

func TestIndistinguishableDeviceIsAComment(t *testing.T) {
	f := findings{kernel: []subsystem{
		{"iio", "", []scan.Device{{Name: "bme280", Option: "i2c-1/1-0076#2", Inputs: []string{"in_temp"}}}, nil},
		{"thermal", "", []scan.Device{{Name: "acpitz", Inputs: []string{"temp"}, Unclear: "2 have this name"}}, nil},
	}}
	section := yaml(f)
	if got := check(t, section); !slices.Equal(got, []string{"bme280 iio"}) {
		t.Errorf("%q", got)
	}
	for _, want := range []string{`device: "i2c-1/1-0076#2"`, "  # thermal acpitz: 2 have this name\n"} {
		if !strings.Contains(section, want) {
			t.Errorf("no %q in\n%s", want, section)
		}
	}
}

// A kind that this version has is written, one that it does not have is a comment.
func TestKernelKindsAreWrittenIfAvailable(t *testing.T) {
	f := findings{kernel: []subsystem{
		{"w1", "", []scan.Device{{Name: "28-0316a2797bff", Inputs: []string{"temperature"}},
			{Name: "26-000001a2b3c4", Inputs: []string{"temperature", "vad", "vdd"}, Monitor: true}}, nil},
		{"iio", "", []scan.Device{{Name: "bme680", Inputs: []string{"in_humidityrelative", "in_temp"}},
			{Name: "max31865", Inputs: []string{"in_temp"}}}, nil},
		{"thermal", "", []scan.Device{{Name: "gpu-thermal", Inputs: []string{"temp"}}}, nil},
	}}
	section := yaml(f)
	got := check(t, section)
	for kind, name := range map[string]string{"w1": "thermometer", "iio": "bme680", "thermal": "gpu_thermal",
		"ds2438": "ds2438", "max31865": "max31865"} {
		if _, have := drivers.New(kind); have != slices.Contains(got, name+" "+kind) {
			t.Errorf("kind %s is in the table: %v, and the sensors are %q\n%s", kind, have, got, section)
		}
	}
}

func TestEmptyScanPassesCheck(t *testing.T) {
	section := yaml(findings{busesErr: os.ErrNotExist})
	if got := check(t, section); !slices.Equal(got, []string{"made_up simulated"}) ||
		!strings.Contains(section, "# Nothing was found") {
		t.Errorf("%q\n%s", got, section)
	}
}

// Drivers, device trees and plugged devices may have any names.
func FuzzYAMLPasses(f *testing.F) {
	f.Add("cpu_thermal", "temp1", "i2c-1/1-0044")
	f.Add("agent", "null", "~")
	f.Add("a: b", "'\"", "#x\\")
	f.Add("-", "}", "*a &b")
	f.Add("made_up", "temp1", "made_up")
	f.Fuzz(func(t *testing.T, name, input, device string) {
		d := scan.Device{Name: name, Inputs: []string{input}, Option: device}
		other := scan.Device{Name: name, Inputs: []string{"temp1"}, Option: device}
		var all []subsystem
		for _, s := range []string{"w1", "iio", "hwmon", "thermal"} {
			all = append(all, subsystem{s, s, []scan.Device{d, other}, nil})
		}
		check(t, yaml(findings{kernel: all}))
	})
}
