package drivers

import "strings"

// otherWords maps words to kinds: parts that a driver also supports, and things that are connected.
// Names in the table [kinds] need no entry.
var otherWords = map[string]string{
	"am2315": "iio", "am2320": "iio", "am2301": "dht", "dht21": "dht",
	"1-wire": "w1", "1wire": "w1", "onewire": "w1", "ds18x20": "w1",
	"bme680": "iio", "bme688": "iio", "bmp085": "iio", "bmp180": "iio",
	"mcp3004": "iio", "mcp3008": "iio", "mcp3208": "iio", "mcp3421": "iio",
	"tsl2561": "iio", "tsl2591": "iio", "vl53l0x": "iio",
	"sht85": "sht3x", "sht2x": "htu21d", "si7013": "si7021", "si7020": "si7021",
	"scd30": "iio", "sps30": "iio",
	"ina226": "hwmon", "ina3221": "hwmon", "lm73": "hwmon", "max6675": "iio", "max31855": "iio",
	"pt100": "max31865", "pt1000": "max31865", "rtd": "max31865", "pcf8574a": "pcf8574",
	"veml6030": "iio",
	"gpio":     "contact", "door": "contact", "window": "contact", "reed": "contact", "switch": "contact",
	"button": "contact", "motion": "contact", "pir": "contact", "leak": "contact", "float": "contact",
	"binary": "contact", "binary_sensor": "contact", "input": "contact",
	"counter": "pulse", "meter": "pulse", "rain": "pulse", "rain_gauge": "pulse", "rain-gauge": "pulse",
	"flow": "pulse",
	"cpu":  "pi", "rpi": "pi", "raspberry": "pi", "raspberrypi": "pi",
	"command": "lines", "exec": "lines", "script": "lines", "shell": "lines", "file": "lines", "fifo": "lines",
	"serial":     "lines",
	"simulation": "simulated", "simulator": "simulated", "fake": "simulated", "test": "simulated",
}

// KindFor returns the kind that the user probably means by a word that is not a kind: its name in
// other case, a part by its maker's name, or its use. It is empty for an unknown word.
func KindFor(word string) string {
	folded := strings.ToLower(strings.TrimSpace(word))
	if _, ok := kinds[folded]; ok {
		return folded
	}
	for _, kind := range kindNames {
		for name := range strings.FieldsFuncSeq(kinds[kind].Part, isSeparator) {
			// A word without a digit, such as "temperature", fits too many parts.
			if strings.ToLower(name) == folded && strings.ContainsAny(name, "0123456789") {
				return kind
			}
		}
	}
	return otherWords[folded]
}

// isSeparator reports whether a character separates the words of a description.
func isSeparator(r rune) bool { return strings.ContainsRune(" ,;:()", r) }
