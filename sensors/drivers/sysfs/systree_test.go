package sysfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// sysTree is a machine whose /sys, /proc and /dev are trees of files in a folder;
// a text that begins with "->" makes a link to another place in the tree.
func sysTree(t testing.TB, files map[string]string) *driver.Hardware {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if target, link := strings.CutPrefix(text, "->"); link && err == nil {
			if err = os.MkdirAll(filepath.Join(root, target), 0o700); err == nil {
				err = os.Symlink(filepath.Join(root, target), path)
			}
		} else if err == nil {
			err = os.WriteFile(path, []byte(text+"\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &driver.Hardware{Host: host.Host{Dev: root + "/dev", Sys: root + "/sys", Proc: root + "/proc"}}
}

// sysfs is such a tree under /sys/class/hwmon; a name that ends in device is a
// link to where the device hangs.
func sysfs(t testing.TB, files map[string]string) *driver.Hardware {
	t.Helper()
	all := map[string]string{}
	for name, text := range files {
		if filepath.Base(name) == "device" {
			text = "->sys/devices/" + text
		}
		all["sys/class/hwmon/"+name] = text
	}
	return sysTree(t, all)
}

// values are samples by quantity, in order.
func values(samples []sensors.Sample) (names string, all []float64) {
	for _, s := range samples {
		names += s.Quantity + " "
		all = append(all, s.Value)
	}
	return strings.TrimSpace(names), all
}

// next is one sample, of a sensor that has one quantity.
func next(t testing.TB, s sensors.Sensor) sensors.Sample {
	t.Helper()
	samples, err := s.Next(t.Context())
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v, %v", samples, err)
	}
	return samples[0]
}
