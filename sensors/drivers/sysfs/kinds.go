// Package sysfs has the kinds of sensors that the kernel reads and publishes in sysfs: IIO, hwmon
// and thermal devices, parts on a 1-wire bus, and the board itself.
//
// Only one goroutine at a time may use a sensor; see [sensors.Sensor].
package sysfs

import (
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

// Kinds are the kinds of this package, for the table of package drivers.
var Kinds = []driver.Kind{
	{Word: "dht", New: newDHT,
		Part:   "Aosong DHT11, DHT22, AM2302: humidity and temperature, by the kernel's IIO driver",
		Source: "linux/drivers/iio/humidity/dht11.c"},
	{Word: "ds2438", New: newDS2438,
		Part:   "Maxim DS2438: two voltages, temperature and current, by the kernel's 1-wire bus",
		Source: "DS2438 datasheet 19-4673; Documentation/w1/slaves/w1_ds2438.rst"},
	{Word: "hwmon", New: newHwmon, Part: "what a driver of the kernel measures, by hwmon",
		Source: "Documentation/hwmon/sysfs-interface.rst"},
	{Word: "iio", New: newIIO, Part: "what a driver of the kernel measures, by Industrial I/O",
		Source: "Documentation/ABI/testing/sysfs-bus-iio"},
	{Word: "max31865", New: newMAX31865,
		Part:   "Maxim MAX31865: temperature, with a Pt100 or Pt1000, by the kernel's IIO driver",
		Source: "MAX31865 datasheet 19-6478; linux/drivers/iio/temperature/max31865.c"},
	{Word: "pi", New: newPi,
		Part:   "the Raspberry Pi itself: the SoC's temperature, under-voltage, throttling, free disk, uptime",
		Source: "linux/drivers/hwmon/raspberrypi-hwmon.c; linux/drivers/firmware/raspberrypi.c"},
	{Word: "thermal", New: newThermal, Part: "a thermal zone of the kernel's: the SoC",
		Source: "Documentation/ABI/testing/sysfs-class-thermal"},
	{Word: "w1", New: newW1, Part: "Maxim DS18B20, DS18S20, DS1822, DS1825, DS28EA00, MAX31850 (a thermocouple): " +
		"temperature, by the kernel's 1-wire bus",
		Source: "DS18B20 datasheet rev 6, MAX31850 19-6725; linux/drivers/w1/slaves/w1_therm.c"},
}
