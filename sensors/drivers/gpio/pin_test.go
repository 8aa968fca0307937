package gpio

import (
	"strings"
	"testing"
)

func TestPinForms(t *testing.T) {
	for text, want := range map[string]string{
		"GPIO17": "GPIO17", "17": "GPIO17", "pin11": "GPIO17", "GPIO0": "GPIO0", "53": "GPIO53",
		"pin3": "GPIO2", "pin40": "GPIO21", "gpiochip0/17": "gpiochip0/17", "gpiochip12/0": "gpiochip12/0",
		"line:GPIO17": "line:GPIO17", "line:2712_WAKE": "line:2712_WAKE", "line:a/b c": "line:a/b c",
	} {
		var p Pin
		if err := p.UnmarshalText([]byte(text)); err != nil || p.String() != want {
			t.Errorf("%s is %v, %v; want %s", text, p, err, want)
		}
	}
}

func TestInvalidPinErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "write GPIO17",
		"GPIO":                            "write GPIO17",
		"gpio17":                          "write GPIO17",
		"BCM17":                           "write GPIO17",
		"-1":                              "write GPIO17",
		"+17":                             "write GPIO17",
		"017":                             "write GPIO17",
		"GPIO54":                          "GPIO0 to GPIO53",
		"pin1":                            "pin 1 of the header is 3.3 V",
		"pin4":                            "pin 4 of the header is 5 V",
		"pin39":                           "pin 39 of the header is ground",
		"pin0":                            "pin1 to pin40",
		"pin41":                           "pin1 to pin40",
		"pinx":                            "write GPIO17",
		"0/17":                            "write GPIO17",
		"gpiochip/17":                     "write GPIO17",
		"gpiochip0/":                      "write GPIO17",
		"../gpiochip0/1":                  "write GPIO17",
		"line:":                           "1 to 31 characters",
		"line:" + strings.Repeat("a", 32): "1 to 31 characters",
	} {
		var p Pin
		if err := p.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, p, err, want)
		}
		if p.form != noPin {
			t.Errorf("%q left the pin %v", text, p)
		}
	}
}

func TestHeaderHasFortyPinsAndEachGPIOOnce(t *testing.T) {
	seen := map[int]bool{}
	for n := 1; n <= 40; n++ {
		gpio, isGPIO := header[n]
		if isGPIO == (power[n] != "") {
			t.Errorf("pin %d is both or neither", n)
		}
		if isGPIO && seen[gpio] {
			t.Errorf("GPIO%d is on two pins", gpio)
		}
		seen[gpio] = seen[gpio] || isGPIO
	}
	for gpio := range 28 {
		if !seen[gpio] {
			t.Errorf("GPIO%d is on no pin", gpio)
		}
	}
}

func FuzzPin(f *testing.F) {
	for _, s := range []string{"GPIO17", "17", "pin11", "gpiochip0/17", "line:NAME", "pin1", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var p, again Pin
		if p.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Fatalf("%q is %v, which is %v, %v", s, p, again, err)
		}
	})
}

func TestEveryPinOfTheHeaderIsFoundFromItsGPIO(t *testing.T) {
	for pin, gpio := range header {
		if got := HeaderPin(gpio); got != pin {
			t.Errorf("GPIO%d is at pin %d, not %d", gpio, pin, got)
		}
	}
	if HeaderPin(30) != 0 {
		t.Error("GPIO30 is on no pin")
	}
}
