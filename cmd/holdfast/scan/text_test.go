package scan

import (
	"errors"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// pi is a Raspberry Pi 4 with parts on it, shortened.
func pi() findings {
	return findings{
		chips: []scan.Chip{
			{Name: "gpiochip0", Label: "pinctrl-bcm2711", SoC: true, Lines: []scan.Line{
				{Pin: "GPIO2", Header: 3, Name: "SDA1"},
				{Pin: "GPIO17", Header: 11, Name: "GPIO17", Used: true, Holder: "holdfast@812", Bias: "pull-up"},
				{Pin: "GPIO27", Header: 13, Name: "GPIO27"},
				{Pin: "GPIO42", Name: "STATUS_LED", Used: true, Output: true},
				{Pin: "GPIO43"},
			}},
			{Name: "gpiochip2", Label: "pcf8574", Lines: []scan.Line{{Pin: "gpiochip2/0"}}},
		},
		buses: []scan.Adapter{
			{Bus: 1, Name: "bcm2835 (i2c@7e804000)", Parts: []scan.Part{
				{Address: 0x29},
				{Address: 0x38, Kinds: []string{"aht20"}},
				{Address: 0x3c},
				{Address: 0x68, Driver: "rtc-ds1307", Device: "ds3231"},
				{Address: 0x70, Driver: "unknown"},
				{Address: 0x76, Kinds: []string{"bme280"}, Says: "BME280 (chip id 0x60)"},
				{Address: 0x77, Says: "BMP180 (chip id 0x55)"},
			}},
			{Bus: 3, Name: "bcm2835 (i2c@7e205600)",
				Err: errors.New("every address times out: is a part holding SDA low?")},
			{Bus: 4, Name: "bcm2835 (i2c@7e205800)"},
			{Bus: 20, Name: "fef04500.i2c", Skipped: "a screen's bus"},
		},
		kernel: []subsystem{
			{"w1", "1-wire", []scan.Device{
				{Name: "28-0316a2797bff", Path: "/sys/bus/w1/devices/28-0316a2797bff", Inputs: []string{"temperature"}},
				{Name: "3a-00000012ab34", Unread: true, Path: "/sys/bus/w1/devices/3a-00000012ab34"},
			}, nil},
			{"hwmon", "Hardware monitoring", []scan.Device{
				{Name: "cpu_thermal", Path: "/sys/class/hwmon/hwmon0", Inputs: []string{"temp1"}},
				{Name: "rpi_volt", Path: "/sys/class/hwmon/hwmon1"},
			}, nil},
			{"iio", "Industrial I/O", nil, errors.New("permission denied")},
			{"thermal", "Thermal zones", nil, nil},
		},
	}
}

const piText = `GPIO
  gpiochip0, pinctrl-bcm2711, 5 lines
    GPIO2 (pin 3)    SDA1        input           free
    GPIO17 (pin 11)  GPIO17      input, pull-up  held by holdfast@812
    GPIO27 (pin 13)  GPIO27      input           free
    GPIO42           STATUS_LED  output          in use
    and 1 more that nobody has
  gpiochip2, pcf8574, 1 lines
    gpiochip2/0    input  free

I2C
  i2c-1, bcm2835 (i2c@7e804000)
    0x29  no kind reads it
    0x38  likely aht20
    0x3c  an OLED display?; no kind reads it
    0x68  ds3231, held by the kernel's driver rtc-ds1307: read it from there, or take its dtoverlay out of config.txt
    0x70  held by the kernel's driver unknown
    0x76  BME280 (chip id 0x60)
    0x77  BMP180 (chip id 0x55); no kind reads it
  i2c-3, bcm2835 (i2c@7e205600)
    every address times out: is a part holding SDA low?
  i2c-4, bcm2835 (i2c@7e205800)
    nobody answers: are the parts powered, and SDA and SCL not swapped?
  i2c-20, fef04500.i2c
    left alone: a screen's bus

1-wire
  28-0316a2797bff  temperature       /sys/bus/w1/devices/28-0316a2797bff
  3a-00000012ab34  measures nothing  /sys/bus/w1/devices/3a-00000012ab34

Hardware monitoring
  cpu_thermal  temp1             /sys/class/hwmon/hwmon0
  rpi_volt     measures nothing  /sys/class/hwmon/hwmon1

Industrial I/O
  permission denied

Thermal zones
  none

holdfast scan --yaml prints stanzas to paste.
`

func TestTextListsAllFindings(t *testing.T) {
	if got := text(pi()); got != piText {
		t.Errorf("%s", got)
	}
}
