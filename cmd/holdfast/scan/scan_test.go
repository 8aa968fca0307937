package scan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// tree is a machine with files below /dev and /sys.
func tree(t testing.TB, files map[string]string) *drivers.Hardware {
	t.Helper()
	root := t.TempDir()
	h := &drivers.Hardware{Host: host.Host{Dev: filepath.Join(root, "dev"), Sys: filepath.Join(root, "sys")}}
	err := errors.Join(os.MkdirAll(filepath.Join(h.Sys, "class"), 0o700), os.Mkdir(h.Dev, 0o700))
	for path, text := range files {
		path := filepath.Join(root, path)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text+"\n"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func run(t testing.TB, h *drivers.Hardware, yaml bool) (string, error) {
	t.Helper()
	var out strings.Builder
	err := Run(t.Context(), h, Options{YAML: yaml, Out: &out})
	return out.String(), err
}

func TestMachineIsShownAndItsYAMLPasses(t *testing.T) {
	h := tree(t, map[string]string{
		"sys/class/hwmon/hwmon2/name":                    "cpu_thermal",
		"sys/class/hwmon/hwmon2/temp1_input":             "48312",
		"sys/class/thermal/thermal_zone0/type":           "cpu-thermal",
		"sys/class/thermal/thermal_zone0/temp":           "48312",
		"sys/bus/w1/devices/28-0316a2797bff/temperature": "1",
		"sys/bus/iio/devices/iio:device0/name":           "dht11",
		"sys/bus/iio/devices/iio:device0/in_temp_input":  "1",
		"sys/bus/i2c/devices/i2c-1/name":                 "bcm2835 (i2c@7e804000)",
		"sys/bus/i2c/devices/i2c-20/name":                "fef04500.i2c",
		"dev/i2c-1":                                      "", "dev/i2c-20": "", // ordinary files instead of buses
	})
	out, err := run(t, h, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"run holdfast on the Raspberry Pi itself",
		"\n  i2c-1, bcm2835 (i2c@7e804000)\n    ", "is it an I2C bus?",
		"\n  i2c-20, fef04500.i2c\n    left alone: a screen's bus",
		"\n  cpu_thermal  temp1", "\n  28-0316a2797bff  temperature", "\n  dht11", "\n  cpu-thermal  temp",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	section, err := run(t, h, true)
	if err != nil || !strings.Contains(section, "\n  cpu: {kind: hwmon, name: cpu_thermal}\n") {
		t.Errorf("%v\n%s", err, section)
	}
	check(t, section)
}

func TestScanFailsIfNothingCanBeExamined(t *testing.T) {
	h := tree(t, nil)
	h.Sys = filepath.Join(h.Sys, "nowhere")
	for _, yaml := range []bool{false, true} {
		out, err := run(t, h, yaml)
		if !errors.Is(err, errBlind) || !strings.Contains(out, "sysfs is not there") {
			t.Errorf("%v\n%s", err, out)
		}
		if yaml {
			check(t, out)
		}
	}
	if out, err := run(t, tree(t, nil), false); err != nil || strings.Count(out, "none") != 4 {
		t.Errorf("a machine without sensors: %v\n%s", err, out)
	}
}

func TestCancelledScanPrintsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if err := Run(ctx, tree(t, nil), Options{Out: &out}); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Error(err, out.String())
	}
}

func TestHangingBusDoesNotAffectOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		buses := []scan.Adapter{{Bus: 0}, {Bus: 1}, {Bus: 2}}
		began := time.Now()
		found := askAll(t.Context(), buses, func(ctx context.Context, b scan.Adapter) scan.Adapter {
			switch b.Bus {
			case 0: // a driver of the kernel that hangs
				<-release
			case 1:
				b.Parts = []scan.Part{{Address: 0x38}}
			case 2: // slow, and ends with its context
				<-ctx.Done()
				time.Sleep(100 * time.Millisecond)
				b.Err = ctx.Err()
			}
			return b
		})
		if took := time.Since(began); took > busTime+2*time.Second {
			t.Error(took)
		}
		if err := found[0].Err; err == nil || !strings.Contains(err.Error(), "does not come back") {
			t.Error(err)
		}
		if found[1].Err != nil || len(found[1].Parts) != 1 {
			t.Errorf("%+v", found[1])
		}
		if err := found[2].Err; err != context.DeadlineExceeded {
			t.Error(err)
		}
		close(release)
	})
}
