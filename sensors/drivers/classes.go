package drivers

import (
	"maps"
	"slices"
	"strings"
)

// classWords are the device classes of Home Assistant's binary_sensor, each with
// the words for the values 0 and 1. Home Assistant takes 1 as "on" and gives it
// the meaning of the second word.
var classWords = map[string][2]string{
	"": {"closed", "open"},

	"door": {"closed", "open"}, "garage_door": {"closed", "open"},
	"opening": {"closed", "open"}, "window": {"closed", "open"},

	"battery": {"normal", "low"}, "battery_charging": {"off", "on"},
	"cold": {"normal", "cold"}, "heat": {"normal", "hot"},
	"connectivity": {"disconnected", "connected"}, "plug": {"unplugged", "plugged"},
	"light": {"dark", "light"}, "lock": {"locked", "unlocked"},
	"moisture": {"dry", "wet"}, "moving": {"still", "moving"},
	"presence": {"away", "home"}, "problem": {"ok", "problem"},
	"running": {"stopped", "running"}, "safety": {"safe", "unsafe"},

	"carbon_monoxide": {"off", "on"}, "gas": {"off", "on"},
	"motion": {"off", "on"}, "occupancy": {"off", "on"},
	"power": {"off", "on"}, "smoke": {"off", "on"},
	"sound": {"off", "on"}, "tamper": {"off", "on"},
	"update": {"off", "on"}, "vibration": {"off", "on"},
}

func knownClasses() string {
	return strings.Join(slices.Sorted(maps.Keys(classWords))[1:], ", ") // the first is none
}
