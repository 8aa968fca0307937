package host

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNameKeepsItsHardwareUntilItIsForgotten(t *testing.T) {
	h := &Host{}
	first, second := Identity{Stable: "usb/1-1", Shown: "the first"}, Identity{Stable: "usb/1-2", Shown: "the second"}
	for _, is := range []Identity{first, first, {}} { // unknown hardware counts as the same
		if err := h.Known.Confirm("i2c-11", is); err != nil {
			t.Fatalf("confirm %v: %v", is, err)
		}
	}
	const want = "i2c-11: was the first and is now the second: if it was moved, reload the configuration (SIGHUP)"
	if err := h.Known.Confirm("i2c-11", second); err == nil || err.Error() != want {
		t.Errorf("other hardware under the same name: %v, want %s", err, want)
	}
	h.Forget()
	if err := h.Known.Confirm("i2c-11", second); err != nil {
		t.Errorf("after Forget: %v", err)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := Sleep(t.Context(), time.Second); err != nil {
			t.Errorf("a whole second: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Sleep(ctx, time.Hour); err != context.DeadlineExceeded || time.Since(start) != time.Second {
			t.Errorf("%v after %v, want %v after 1s", err, time.Since(start), context.DeadlineExceeded)
		}
	})
}

// A USB adapter that is plugged into the same place again gets other numbers.
func TestReconnectedHardwareIsTheSame(t *testing.T) {
	const usb = "platform/scb/pci0000:00/0000:00:00.0/usb1/1-1/1-1.2/1-1.2:1.0"
	for _, c := range []struct {
		was, is string
		same    bool
	}{
		{usb + "/i2c-11/11-0044", usb + "/i2c-12/12-0044", true},
		{usb + "/i2c-11/11-0044", usb + "/i2c-11/11-0045", false},
		{usb + "/i2c-11/11-0044", strings.Replace(usb, "1-1.2:1.0", "1-1.3:1.0", 1) + "/i2c-11/11-0044", false},
		{usb + "/host0/target0:0:0/0:0:0:0", usb + "/host1/target1:0:0/1:0:0:0", true},
		{"pci0000:00/0000:01:00.0/nvme/nvme0", "pci0000:00/0000:01:00.0/nvme/nvme1", true},
		{"pci0000:00/0000:01:00.0/nvme/nvme0", "pci0000:00/0000:02:00.0/nvme/nvme0", false},
		{"platform/soc/fe804000.i2c/i2c-1/1-0044", "platform/soc/fe205000.i2c/i2c-1/1-0044", false},
		{"platform/dht11@4", "platform/dht11@11", false},
		{"platform/i2c-gpio.0/i2c-11", "platform/i2c-gpio.1/i2c-11", false},
		{"platform/soc/fe204000.spi/spi_master/spi0/spi0.0", "platform/soc/fe204000.spi/spi_master/spi10/spi10.0",
			true},
		{"platform/soc/fe204000.spi/spi_master/spi0/spi0.0", "platform/soc/fe204000.spi/spi_master/spi0/spi0.1", false},
		{"w1_bus_master1/28-0316a2797bff", "w1_bus_master2/28-0316a2797bff", true},
		{"w1_bus_master1/28-0316a2797bff", "w1_bus_master1/28-0316a2797bfe", false},
		{usb + "/0003:1234:5678.0001/hidraw0", usb + "/0003:1234:5678.0009/hidraw1", true},
	} {
		if was, is := StablePath("/sys/devices/"+c.was), StablePath("/sys/devices/"+c.is); (was == is) != c.same {
			t.Errorf("%s is %s, and %s is %s", c.was, was, c.is, is)
		}
	}
}

func TestNamesArePrintable(t *testing.T) {
	for text, want := range map[string]string{
		"bme280":                  "bme280",
		"\x1b[31mred\n\tfan\r":    "[31mredfan",
		"\xff\xfe°C":              "°C",
		strings.Repeat("x", 1000): strings.Repeat("x", 80),
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
