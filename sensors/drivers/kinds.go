// Package drivers opens real devices: GPIO lines, I2C parts, the kernel's own
// sensors, and simulated ones.
//
// Each kind of sensor is one file and one line in the table [kinds]. A kind is
// its options, as a person writes them in the configuration: they say what is
// wrong with them, what the sensor measures, and how to open it. A driver owns
// no goroutine, mutex, ticker or retry; the sampler in package sensors opens,
// paces, fails and reopens.
//
// # Concurrency
//
// [Hardware] opens sensors for any number of goroutines. A sensor is for one goroutine at
// a time, as [sensors.Sensor] says; sensors that share a bus or a part wait for one another
// below, in drivers/i2c and drivers/kernel.
package drivers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Kind is one line in the table of what can be read. docs/sensors.md is made
// of it, of the options' keys with their `doc` tags, and of their defaults.
type Kind struct {
	New    func() Options // the options before the file is read
	Part   string         // what it reads, as its makers call it
	Source string         // the datasheet or specification that the driver follows
}

// kinds are by the word after `kind:` in a configuration. A word is never given to
// another part: files in use have it.
var kinds = map[string]Kind{
	"ads1015": {newADS1015, "TI ADS1015, of 12 bits: voltage, a transducer or a supervised loop", "SBAS473"},
	"ads1115": {newADS1115, "TI ADS1115, of 16 bits: voltage, a transducer or a supervised loop", "SBAS444"},
	"aht10":   {newAHT10, "Aosong AHT10: humidity and temperature", "AHT10 Product manuals V1.1"},
	"aht20":   {newAHT20, "Aosong AHT20: humidity and temperature", "AHT20 Product manuals V1.1"},
	"bh1750":  {newBH1750, "Rohm BH1750FVI: illuminance", "BH1750FVI Technical Note 11046EDT01"},
	"bme280":  {newBME280, "Bosch BME280: humidity, temperature and pressure", "BST-BME280-DS002"},
	"bmp280":  {newBMP280, "Bosch BMP280: temperature and pressure", "BST-BMP280-DS001"},
	"contact": {newContact, "a switch, a reed or a detector on a GPIO line", "linux/gpio.h"},
	"dht": {newDHT, "Aosong DHT11, DHT22, AM2302: humidity and temperature, by the kernel's IIO driver",
		"linux/drivers/iio/humidity/dht11.c"},
	"hdc302x": {newHDC302x, "Texas Instruments HDC3020, HDC3021, HDC3022: humidity and temperature", "SNAS778D"},
	"htu21d": {newHTU21D, "TE HTU21D, Sensirion SHT20, SHT21, SHT25: humidity and temperature",
		"HPC199_5 HTU21D(F), SHT21 version 4"},
	"hwmon": {newHwmon, "what a driver of the kernel measures, by hwmon",
		"Documentation/hwmon/sysfs-interface.rst"},
	"iio": {newIIO, "what a driver of the kernel measures, by Industrial I/O",
		"Documentation/ABI/testing/sysfs-bus-iio"},
	"ina219": {newINA219, "TI INA219: voltage, current and power", "SBOS448"},
	"lines": {newLines, "anything that writes lines: into a named pipe, or as a command that is kept running",
		"contract"},
	"lm75":     {newLM75, "National LM75 and compatibles (LM75A, LM75B, DS75, TMP75): temperature", "SNOS808"},
	"mcp23017": {newMCP23017, "Microchip MCP23017: a contact on one of its 16 pins", "DS20001952C"},
	"mcp9808":  {newMCP9808, "Microchip MCP9808: temperature", "DS25095"},
	"pi": {newPi, "the Raspberry Pi itself: the SoC's temperature, under-voltage, throttling, free disk, uptime",
		"linux/drivers/hwmon/raspberrypi-hwmon.c; linux/drivers/firmware/raspberrypi.c"},
	"pulse": {newPulse, "a rain gauge or a meter: pulses on a GPIO line", "linux/gpio.h"},
	"scd4x": {newSCD4x, "Sensirion SCD40 and SCD41: carbon dioxide, temperature and humidity",
		"SCD4x datasheet 1.3"},
	"sht3x":     {newSHT3x, "Sensirion SHT30, SHT31, SHT35: humidity and temperature", "SHT3x-DIS version 7"},
	"sht4x":     {newSHT4x, "Sensirion SHT40, SHT41, SHT45: humidity and temperature", "SHT4x version 7.1"},
	"si7021":    {newSi7021, "Silicon Labs Si7021: humidity and temperature", "Si7021-A20"},
	"simulated": {newSimulated, "nothing: for tests, demos and load", "contract"},
	"thermal": {newThermal, "a thermal zone of the kernel's: the SoC",
		"Documentation/ABI/testing/sysfs-class-thermal"},
	"tmp102": {newTMP102, "TI TMP102 and TMP112: temperature", "SBOS397"},
	"w1": {newW1, "Maxim DS18B20, DS18S20, DS1822, DS1825, DS28EA00, MAX31850 (a thermocouple): " +
		"temperature, by the kernel's 1-wire bus",
		"DS18B20 datasheet rev 6, MAX31850 19-6725; linux/drivers/w1/slaves/w1_therm.c"},
}

// Options are one sensor's options of its kind. The implementation is a
// pointer to a struct whose yaml tags are the keys; package config fills it.
type Options interface {
	// Check says what is wrong with the options, off the target too.
	Check() []Problem
	// Pace is the time between two measurements if the file does not say;
	// 0 for a kind that waits for events and takes no `every`.
	Pace() time.Duration
	// Quantities are what the sensor measures, known before it is opened.
	Quantities() []sensors.Quantity
	// Open opens the device.
	Open(context.Context, *Hardware) (sensors.Sensor, error)
}

// A Claimer is Options that know which hardware their sensor has for itself: the names of
// its lines or addresses, written the same by all kinds, so that no two sensors have one.
// Claims is called only after Check has found nothing wrong.
type Claimer interface{ Claims() []string }

// A Commander is Options that may name a program, which the agent runs with its own
// rights.
type Commander interface{ RunsCommand() bool }

// A Problem is something that a person has to change.
type Problem struct {
	Key  string // the option's key, "wave.period" in a nested one; empty for the sensor as a whole
	Text string // what is wrong and what to write instead
}

// problem is a [Problem] with a formatted text.
func problem(key, format string, args ...any) Problem {
	return Problem{key, fmt.Sprintf(format, args...)}
}

// New returns the options of a kind with their defaults, or false if there is
// no such kind.
func New(kind string) (Options, bool) {
	k, ok := kinds[kind]
	if !ok {
		return nil, false
	}
	return k.New(), true
}

// Describe returns a kind's line in the table; it is zero where there is none.
func Describe(kind string) Kind { return kinds[kind] }

// Kinds lists the names of all kinds in order.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }
