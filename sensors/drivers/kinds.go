// Package drivers opens real devices: GPIO lines, I2C parts, the kernel's own
// sensors, and simulated ones.
//
// Each kind of sensor is one file and one entry in the table [kinds], or in the table of a
// family in a package below: package sysfs has the kinds that the kernel measures. A kind is
// defined by its options, as a person writes them in the configuration: their methods report
// mistakes in them, return what the sensor measures, and open it. A driver has no goroutine,
// mutex, ticker or retry: the sampler in package sensors opens the sensor, measures at its
// interval and opens it again after an error.
//
// # Concurrency
//
// [Hardware] may be used from any goroutine. Only one goroutine at a time may use a sensor:
// see [sensors.Sensor]. Sensors that share a bus or a part wait for each other in the
// packages drivers/i2c and drivers/kernel.
package drivers

import (
	"maps"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/sysfs"
)

// The types of package driver, so that users of the kinds need only this package. The packages
// of families below import package driver, not this one.
type (
	Kind      = driver.Kind
	Options   = driver.Options
	Claimer   = driver.Claimer
	Commander = driver.Commander
	Sharer    = driver.Sharer
	Problem   = driver.Problem
	Hardware  = driver.Hardware
	Latch     = driver.Latch
)

// NewHardware returns the hardware of this machine. It has to be called early: see
// [driver.NewHardware].
func NewHardware() *Hardware { return driver.NewHardware() }

// kinds has all kinds by their word after `kind:` in a configuration, with the part and its
// datasheet. A word must never be used for another part: configurations in use have it.
var kinds = withFamilies(sysfs.Kinds, map[string]Kind{
	"ads1015": driver.NewKind(newADS1015, "TI ADS1015, of 12 bits: voltage, a transducer or a supervised loop",
		"SBAS473"),
	"ads1115": driver.NewKind(newADS1115, "TI ADS1115, of 16 bits: voltage, a transducer or a supervised loop",
		"SBAS444"),
	"aht10":  driver.NewKind(newAHT10, "Aosong AHT10: humidity and temperature", "AHT10 Product manuals V1.1"),
	"aht20":  driver.NewKind(newAHT20, "Aosong AHT20: humidity and temperature", "AHT20 Product manuals V1.1"),
	"bh1750": driver.NewKind(newBH1750, "Rohm BH1750FVI: illuminance", "BH1750FVI Technical Note 11046EDT01"),
	"bme280": driver.NewKind(newBME280, "Bosch BME280: humidity, temperature and pressure", "BST-BME280-DS002"),
	"bmp280": driver.NewKind(newBMP280, "Bosch BMP280: temperature and pressure", "BST-BMP280-DS001"),
	"bmp390": driver.NewKind(newBMP390, "Bosch BMP390 and BMP388: temperature and pressure",
		"BST-BMP390-DS002, BST-BMP388-DS001"),
	"contact": driver.NewKind(newContact, "a switch, a reed or a detector on a GPIO line", "linux/gpio.h"),
	"derived": driver.NewKind(newDerived,
		"no part: a difference, sum, dew point, absolute humidity or rate of other streams",
		"Sonntag 1990, WMO-No. 8 annex 4.B"),
	"hdc302x": driver.NewKind(newHDC302x, "Texas Instruments HDC3020, HDC3021, HDC3022: humidity and temperature",
		"SNAS778D"),
	"htu21d": driver.NewKind(newHTU21D, "TE HTU21D, Sensirion SHT20, SHT21, SHT25: humidity and temperature",
		"HPC199_5 HTU21D(F), SHT21 version 4"),
	"ina219": driver.NewKind(newINA219, "TI INA219: voltage, current and power", "SBOS448"),
	"lines": driver.NewKind(newLines,
		"anything that writes lines: into a named pipe, or as a command that is kept running or run again and again",
		"contract"),
	"lm75": driver.NewKind(newLM75, "National LM75 and compatibles (LM75A, LM75B, DS75, TMP75): temperature",
		"SNOS808"),
	"mcp23017": driver.NewKind(newMCP23017, "Microchip MCP23017: a contact on one of its 16 pins", "DS20001952C"),
	"mcp9808":  driver.NewKind(newMCP9808, "Microchip MCP9808: temperature", "DS25095"),
	"modbus": driver.NewKind(newModbus, "registers of a meter or another field instrument, by Modbus RTU or TCP",
		"Modbus Application Protocol V1.1b3, Modbus over Serial Line V1.02"),
	"pcf8574": driver.NewKind(newPCF8574, "NXP and TI PCF8574, PCF8574A: a contact on one of its 8 pins",
		"SCPS068K"),
	"pulse": driver.NewKind(newPulse, "a rain gauge or a meter: pulses on a GPIO line", "linux/gpio.h"),
	"scd4x": driver.NewKind(newSCD4x, "Sensirion SCD40 and SCD41: carbon dioxide, temperature and humidity",
		"SCD4x datasheet 1.3"),
	"sgp30": driver.NewKind(newSGP30, "Sensirion SGP30: air quality, as equivalent carbon dioxide and TVOC",
		"SGP30 0.92"),
	"sgp40": driver.NewKind(newSGP40, "Sensirion SGP40: volatile organic compounds, as its raw signal",
		"SGP40 1.1"),
	"sht3x": driver.NewKind(newSHT3x, "Sensirion SHT30, SHT31, SHT35: humidity and temperature",
		"SHT3x-DIS version 7"),
	"sht4x": driver.NewKind(newSHT4x, "Sensirion SHT40, SHT41, SHT45: humidity and temperature",
		"SHT4x version 7.1"),
	"si7021":    driver.NewKind(newSi7021, "Silicon Labs Si7021: humidity and temperature", "Si7021-A20"),
	"simulated": driver.NewKind(newSimulated, "nothing: for tests, demos and load", "contract"),
	"tmp102":    driver.NewKind(newTMP102, "TI TMP102 and TMP112: temperature", "SBOS397"),
	"veml7700":  driver.NewKind(newVEML7700, "Vishay VEML7700: illuminance", "84286 revision 1.7, 84323"),
})

// withFamilies merges tables. It panics if two of them have the same word, because that is a
// mistake in the program.
func withFamilies(tables ...map[string]Kind) map[string]Kind {
	all := map[string]Kind{}
	for _, table := range tables {
		for word, kind := range table {
			if _, twice := all[word]; twice {
				panic("two kinds of sensors are called " + word)
			}
			all[word] = kind
		}
	}
	return all
}

// problem returns a [Problem] with a formatted text.
func problem(key, format string, args ...any) Problem {
	return driver.Problemf(key, format, args...)
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

// Describe returns a kind's entry in the table; zero: there is no such kind.
func Describe(kind string) Kind { return kinds[kind] }

// kindNames are sorted once, because a file with thousands of mistakes needs them for each.
var kindNames = slices.Sorted(maps.Keys(kinds))

// Kinds returns the sorted names of all kinds.
func Kinds() []string { return slices.Clone(kindNames) }
