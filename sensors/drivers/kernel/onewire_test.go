package kernel

import "testing"

func TestOneWireThermometersAreKnownByTheirFamily(t *testing.T) {
	for id, want := range map[string][2]bool{
		"28-0316a2797bff":   {true, true},
		"3b-0000001921e8":   {true, true},
		"3a-00000012ab34":   {true, false}, // a switch, DS2413
		"w1_bus_master1":    {false, false},
		"28-0316A2797BFF":   {false, false}, // the kernel writes small letters
		"28-0316a2797bff/x": {false, false},
	} {
		if got := [2]bool{IsOneWireID(id), IsOneWireThermometer(id)}; got != want {
			t.Errorf("%s: an id, a thermometer: %v, want %v", id, got, want)
		}
	}
}

func TestOptionDeviceIsAPathSuffix(t *testing.T) {
	for device, good := range map[string]bool{
		"": true, "1-0044": true, "1-0044#2": true, "#1": false, "1-0044#": false, "1-0044#0": false,
		"1-0044#02": false,
	} {
		if err := CheckOption(device); (err == nil) != good {
			t.Errorf("%q: %v", device, err)
		}
	}
}
