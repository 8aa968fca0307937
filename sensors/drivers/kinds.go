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
var kinds = withFamilies(sysfs.Kinds, []Kind{
	{Word: "ads1015", New: newADS1015, Part: "TI ADS1015, of 12 bits: voltage, a transducer or a supervised loop",
		Source: "SBAS473"},
	{Word: "ads1115", New: newADS1115, Part: "TI ADS1115, of 16 bits: voltage, a transducer or a supervised loop",
		Source: "SBAS444"},
	{Word: "aht10", New: newAHT10, Part: "Aosong AHT10: humidity and temperature",
		Source: "AHT10 Product manuals V1.1"},
	{Word: "aht20", New: newAHT20, Part: "Aosong AHT20: humidity and temperature",
		Source: "AHT20 Product manuals V1.1"},
	{Word: "bh1750", New: newBH1750, Part: "Rohm BH1750FVI: illuminance",
		Source: "BH1750FVI Technical Note 11046EDT01"},
	{Word: "bme280", New: newBME280, Part: "Bosch BME280: humidity, temperature and pressure",
		Source: "BST-BME280-DS002"},
	{Word: "bmp280", New: newBMP280, Part: "Bosch BMP280: temperature and pressure", Source: "BST-BMP280-DS001"},
	{Word: "bmp390", New: newBMP390, Part: "Bosch BMP390 and BMP388: temperature and pressure",
		Source: "BST-BMP390-DS002, BST-BMP388-DS001"},
	{Word: "contact", New: newContact, Part: "a switch, a reed or a detector on a GPIO line", Source: "linux/gpio.h"},
	{Word: "derived", New: newDerived,
		Part:   "no part: a difference, sum, dew point, absolute humidity or rate of other streams",
		Source: "Sonntag 1990, WMO-No. 8 annex 4.B"},
	{Word: "hdc302x", New: newHDC302x, Part: "Texas Instruments HDC3020, HDC3021, HDC3022: humidity and temperature",
		Source: "SNAS778D"},
	{Word: "htu21d", New: newHTU21D, Part: "TE HTU21D, Sensirion SHT20, SHT21, SHT25: humidity and temperature",
		Source: "HPC199_5 HTU21D(F), SHT21 version 4"},
	{Word: "ina219", New: newINA219, Part: "TI INA219: voltage, current and power", Source: "SBOS448"},
	{Word: "lines", New: newLines,
		Part: "anything that writes lines: into a named pipe, or as a command that is kept running or run again " +
			"and again",
		Source: "contract"},
	{Word: "lm75", New: newLM75, Part: "National LM75 and compatibles (LM75A, LM75B, DS75, TMP75): temperature",
		Source: "SNOS808"},
	{Word: "mcp23017", New: newMCP23017, Part: "Microchip MCP23017: a contact on one of its 16 pins",
		Source: "DS20001952C"},
	{Word: "mcp9808", New: newMCP9808, Part: "Microchip MCP9808: temperature", Source: "DS25095"},
	{Word: "modbus", New: newModbus, Part: "registers of a meter or another field instrument, by Modbus RTU or TCP",
		Source: "Modbus Application Protocol V1.1b3, Modbus over Serial Line V1.02"},
	{Word: "pcf8574", New: newPCF8574, Part: "NXP and TI PCF8574, PCF8574A: a contact on one of its 8 pins",
		Source: "SCPS068K"},
	{Word: "pulse", New: newPulse, Part: "a rain gauge or a meter: pulses on a GPIO line", Source: "linux/gpio.h"},
	{Word: "scd4x", New: newSCD4x, Part: "Sensirion SCD40 and SCD41: carbon dioxide, temperature and humidity",
		Source: "SCD4x datasheet 1.3"},
	{Word: "sgp30", New: newSGP30, Part: "Sensirion SGP30: air quality, as equivalent carbon dioxide and TVOC",
		Source: "SGP30 0.92"},
	{Word: "sgp40", New: newSGP40, Part: "Sensirion SGP40: volatile organic compounds, as its raw signal",
		Source: "SGP40 1.1"},
	{Word: "sht3x", New: newSHT3x, Part: "Sensirion SHT30, SHT31, SHT35: humidity and temperature",
		Source: "SHT3x-DIS version 7"},
	{Word: "sht4x", New: newSHT4x, Part: "Sensirion SHT40, SHT41, SHT45: humidity and temperature",
		Source: "SHT4x version 7.1"},
	{Word: "si7021", New: newSi7021, Part: "Silicon Labs Si7021: humidity and temperature", Source: "Si7021-A20"},
	{Word: "simulated", New: newSimulated, Part: "nothing: for tests, demos and load", Source: "contract"},
	{Word: "tmp102", New: newTMP102, Part: "TI TMP102 and TMP112: temperature", Source: "SBOS397"},
	{Word: "veml7700", New: newVEML7700, Part: "Vishay VEML7700: illuminance", Source: "84286 revision 1.7, 84323"},
})

// withFamilies merges tables. It panics if two of them have the same word, because that is a
// mistake in the program.
func withFamilies(tables ...[]Kind) map[string]Kind {
	all := map[string]Kind{}
	for _, table := range tables {
		for _, kind := range table {
			if _, twice := all[kind.Word]; twice {
				panic("two kinds of sensors are called " + kind.Word)
			}
			all[kind.Word] = kind
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
