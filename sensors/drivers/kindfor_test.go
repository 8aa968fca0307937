package drivers

import (
	"strings"
	"testing"
)

func TestPartIsMappedToItsKind(t *testing.T) {
	for word, want := range map[string]string{
		"ds18b20": "w1", "DS18B20": "w1", "dht22": "dht", "DHT11": "dht", "am2302": "dht", "BME280": "bme280",
		"sht31": "sht3x", "SHT45": "sht4x", "scd41": "scd4x", "hdc3022": "hdc302x", "tmp112": "tmp102",
		"bh1750fvi": "bh1750", "BMP388": "bmp390", "pt100": "max31865", "max31865": "max31865", "ds2438": "ds2438",
		"bme680": "iio", "pir": "contact", " reed ": "contact", "rain": "pulse", "cpu": "pi", "script": "lines",
		"temperature": "", "humidity": "", "of": "", "": "", "nothing": "",
	} {
		if got := KindFor(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestOtherWordsMapToKinds(t *testing.T) {
	for word, kind := range otherWords {
		if _, ok := kinds[kind]; !ok {
			t.Errorf("%s: there is no kind %q", word, kind)
		}
		if _, ok := kinds[word]; ok || word != strings.ToLower(word) {
			t.Errorf("%s is never found", word)
		}
	}
}
