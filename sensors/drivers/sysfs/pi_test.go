package sysfs

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

// pi5Files are what a Raspberry Pi 5 with Raspberry Pi OS has.
func pi5Files() map[string]string {
	const firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware"
	return map[string]string{
		"sys/class/thermal/thermal_zone0/type":                                  "cpu-thermal",
		"sys/class/thermal/thermal_zone0/temp":                                  "61850",
		"sys/class/hwmon/hwmon0/name":                                           "cpu_thermal",
		"sys/class/hwmon/hwmon2/name":                                           "rpi_volt",
		"sys/class/hwmon/hwmon2/in0_lcrit_alarm":                                "0",
		"sys/bus/platform/drivers/raspberrypi-firmware/soc@107c000000:firmware": "->" + firmware,
		firmware + "/get_throttled":                                             "0",
		"proc/uptime":                                                           "350735.47 234388.90",
	}
}

// readPi reads the board with some of its files changed; an empty name takes
// a whole folder away.
func readPi(t testing.TB, change map[string]string, chosen ...string) (map[string]sensors.Sample, error) {
	t.Helper()
	files := pi5Files()
	for path, text := range change {
		if text != "" {
			files[path] = text
			continue
		}
		for f := range files {
			if strings.HasPrefix(f, path) {
				delete(files, f)
			}
		}
	}
	o := newPi().(*piOptions)
	if o.Path = t.TempDir(); len(chosen) > 0 {
		o.Chosen = chosen
	}
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	s, err := o.Open(t.Context(), sysTree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := s.Next(t.Context())
	got := map[string]sensors.Sample{}
	for _, sample := range samples {
		got[sample.Quantity] = sample
	}
	return got, err
}

func TestPiKindNeedsNoOptions(t *testing.T) {
	got, err := readPi(t, nil)
	if err != nil || len(got) != 4 {
		t.Fatal(got, err)
	}
	for name, want := range map[string]float64{"temperature": 61.85, "undervoltage": 0, "uptime": 350735} {
		if s := got[name]; s.Err != nil || s.Value != want {
			t.Errorf("%+v, want %v", s, want)
		}
	}
	if free := got["disk_free"]; free.Err != nil || free.Value < 0 || free.Value > 100 {
		t.Error(free)
	}
	for i, q := range newPi().Quantities() {
		if want := []string{"°C", "", "%", "s"}[i]; q.Unit != want ||
			(q.Unit == "") != slices.Equal(q.States, []string{"ok", "problem"}) {
			t.Errorf("%+v, want %q", q, want)
		}
	}
}

func TestUnderVoltageWithOldAndNewKernels(t *testing.T) {
	const (
		hwmon    = "sys/class/hwmon/hwmon2/"
		firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
	)
	for _, c := range []struct {
		change map[string]string
		want   float64
	}{
		{map[string]string{hwmon + "in0_lcrit_alarm": "1"}, 1},
		{map[string]string{hwmon: "", firmware: "50005"}, 1},
		{map[string]string{hwmon: "", firmware: "50000"}, 0}, // it has been, and is no more
		{map[string]string{hwmon: "", firmware: "0x1"}, 1},
	} {
		got, err := readPi(t, c.change, "undervoltage")
		if err != nil || got["undervoltage"].Value != c.want {
			t.Error(c.change, got, err)
		}
	}
}

func TestThrottledBits(t *testing.T) {
	const firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
	for text, want := range map[string]float64{"0": 0, "1": 0, "2": 1, "4": 1, "80008": 1, "50005": 1, "e0000": 0,
		"d0000": 0} {
		got, err := readPi(t, map[string]string{firmware: text}, "throttled")
		if err != nil || got["throttled"].Value != want {
			t.Error(text, got, err)
		}
	}
	if got, err := readPi(t, map[string]string{firmware: "none"}, "throttled"); err == nil ||
		!strings.Contains(err.Error(), "hexadecimal") {
		t.Error(got, err)
	}
}

func TestUnsupportedPiValueFailsAlone(t *testing.T) {
	got, err := readPi(t, map[string]string{"sys": ""}, "temperature", "undervoltage", "throttled", "uptime")
	if err != nil || got["uptime"].Value != 350735 {
		t.Fatal(got, err)
	}
	for _, name := range []string{"temperature", "undervoltage", "throttled"} {
		if err := got[name].Err; err == nil || !strings.Contains(err.Error(), "leave "+name+" out of quantities") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFreeSpaceMatchesDf(t *testing.T) {
	for _, c := range []struct {
		blocks, free, available uint64
		want                    float64
	}{
		{1000, 300, 250, 26.3}, // 50 for root: used 700, 250/950
		{1000, 1000, 1000, 100}, {1000, 50, 0, 0},
	} {
		if got, err := freePercent(c.blocks, c.free, c.available); err != nil || got != c.want {
			t.Errorf("%+v: %v %v", c, got, err)
		}
	}
	if got, err := freePercent(0, 0, 0); err == nil { // proc
		t.Error(got)
	}
}

func TestPiOptionsSayWhatIsWrong(t *testing.T) {
	for _, o := range []*piOptions{
		{Path: "/"},
		{Chosen: []string{"load"}, Path: "/"},
		{Chosen: []string{"uptime", "uptime"}, Path: "/"},
		{Chosen: []string{"uptime"}, Path: "var"},
	} {
		if p := o.Check(); len(p) != 1 {
			t.Errorf("%+v: %v", o, p)
		}
	}
}
