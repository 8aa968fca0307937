package sysfs

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

// dhtFiles are two parts that dtoverlay=dht11 set up; the driver names each
// by its node.
func dhtFiles() map[string]string {
	files := map[string]string{}
	for n, node := range []string{"dht11@4", "dht11@11"} {
		dir := "sys/devices/platform/" + node + "/iio:device" + string(rune('0'+n))
		files["sys/bus/iio/devices/"+filepath.Base(dir)] = "->" + dir
		files[dir+"/name"] = node
		files[dir+"/in_temp_input"] = "-3400" // a DHT22
		files[dir+"/in_humidityrelative_input"] = "61200"
	}
	return files
}

// openDHT opens the part on line 4. Its first reads of the kernel's files fail
// with the errors given.
func openDHT(t testing.TB, failures ...error) *dht {
	t.Helper()
	o := newDHT().(*dhtOptions)
	o.Device = "dht11@4"
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	opened, err := o.Open(t.Context(), sysTree(t, dhtFiles()))
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*dht)
	s.file = func(path string) (string, error) {
		if len(failures) == 0 {
			return s.ReadLine(path)
		}
		err := failures[0]
		failures = failures[1:]
		if err == nil {
			return s.ReadLine(path)
		}
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return s
}

var dhtValues = []sensors.Sample{{Quantity: "humidity", Value: 61.2}, {Quantity: "temperature", Value: -3.4}}

func TestDHTIsFoundByItsNodeAndReadInOneTransmission(t *testing.T) {
	samples, err := openDHT(t).Next(t.Context())
	if err != nil || !slices.Equal(samples, dhtValues) {
		t.Error(samples, err)
	}
	_, err = newDHT().Open(t.Context(), sysTree(t, dhtFiles()))
	if err == nil || !strings.Contains(err.Error(), "add device:") || !strings.Contains(err.Error(), "dht11@11") {
		t.Error(err)
	}
	_, err = newDHT().Open(t.Context(), sysTree(t, nil))
	if err == nil || !strings.Contains(err.Error(), "dtoverlay=dht11") {
		t.Error(err)
	}
}

func TestLostTransmissionIsRetried(t *testing.T) {
	for _, lost := range [][]error{
		{syscall.EIO, syscall.EIO},
		{syscall.ETIMEDOUT, syscall.ETIMEDOUT, syscall.EIO, syscall.EIO},
		{nil, syscall.EIO}, // half of one
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			samples, err := openDHT(t, lost...).Next(t.Context())
			if err != nil || !slices.Equal(samples, dhtValues) {
				t.Error(lost, samples, err)
			}
			if took := time.Since(start); took < dhtPause || took > 2*dhtPause {
				t.Error(lost, took)
			}
		})
	}
}

func TestDeadDHTFailsAfterThreeReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := openDHT(t, slices.Repeat([]error{syscall.ETIMEDOUT}, 6)...).Next(t.Context())
		if !errors.Is(err, syscall.ETIMEDOUT) || !strings.Contains(err.Error(), "3 times") ||
			time.Since(start) != 2*dhtPause {
			t.Error(err, time.Since(start))
		}
	})
}

func TestOtherErrorsAreNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := openDHT(t, syscall.EAGAIN, syscall.EAGAIN) // the kernel's clock is too coarse
		if _, err := s.Next(t.Context()); !errors.Is(err, syscall.EAGAIN) || time.Since(start) != 0 {
			t.Error(err, time.Since(start))
		}
	})
}

func TestRetriesEndWithTheMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := openDHT(t, slices.Repeat([]error{syscall.EIO}, 6)...).Next(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func TestLineThatIsHeldLowIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openDHT(t)
		s.file = func(string) (string, error) { return "0", nil }
		if _, err := s.Next(t.Context()); !errors.Is(err, errSilent) {
			t.Error(err)
		}
		s.file = func(path string) (string, error) {
			return map[bool]string{true: "125000", false: "40000"}[strings.Contains(path, "temp")], nil
		}
		if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "125 °C is beyond") {
			t.Error(err)
		}
	})
}

// A clone sends -0.3 °C as 0xfffd, of which the kernel makes a sign and 3276.5 °C.
func TestDHTTwosComplementIsDecoded(t *testing.T) {
	for milli, want := range map[string]float64{"-3276500": -0.3, "-3276700": -0.1, "-3236800": -40, "-300": -0.3,
		"-40000": -40, "0": 0} {
		for _, o := range []driver.Options{newDHT(), &iioOptions{Name: "dht11"}} {
			files := map[string]string{}
			i2cIIO(files, "0", "dht11@4", "dht11", "dht11@4",
				map[string]string{"in_temp_input": milli, "in_humidityrelative_input": "61200"})
			samples, err := readIIO(t, files, o)
			if err != nil || samples[1].Value != want {
				t.Errorf("%T %s: %v, %v, want %v", o, milli, samples, err, want)
			}
		}
	}
	for _, milli := range []string{"-3236700", "-3200000", "-40100", "80100"} { // -40.1 °C however it is read
		files := map[string]string{}
		i2cIIO(files, "0", "dht11@4", "dht11", "dht11@4",
			map[string]string{"in_temp_input": milli, "in_humidityrelative_input": "61200"})
		if samples, err := readIIO(t, files, newDHT()); err == nil {
			t.Errorf("%s: %v", milli, samples)
		}
	}
}
