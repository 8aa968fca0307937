package drivers

import (
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// This file has tables of Home Assistant's documentation (developers.home-assistant.io: Binary sensor
// entity, Sensor entity), so that a stream has a class and a unit that Home Assistant accepts. Package
// uplink announces them; package config checks those in the configuration.

// classWords are the device classes of Home Assistant's binary_sensor, each with the names of the
// values 0 and 1. For Home Assistant 1 is "on", which has the meaning of the second word.
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

// meters are the device classes of Home Assistant for meters, each with its units and the unit of its
// rate per hour.
var meters = map[string]struct {
	units map[string]string // unit of the rate per hour by unit
	rate  string            // the device class of the rate
}{
	"precipitation": {map[string]string{"mm": "mm/h", "in": "in/h"}, "precipitation_intensity"},
	"water":         {volumes, "volume_flow_rate"},
	"gas":           {volumes, "volume_flow_rate"},
	"volume":        {volumes, "volume_flow_rate"},
	"energy":        {map[string]string{"Wh": "W", "kWh": "kW", "MWh": "MW"}, "power"},

	"reactive_energy": {map[string]string{"varh": "var", "kvarh": "kvar"}, "reactive_power"},
}

// volumes are the units of a volume for which Home Assistant also has a unit of flow.
var volumes = map[string]string{"L": "L/h", "m³": "m³/h"}

// checkMeter checks that Home Assistant accepts the class with this unit. Home Assistant itself only
// writes a warning into its log.
func checkMeter(class, unit string) []Problem {
	if class == "" {
		return nil
	}
	m, ok := meters[class]
	if !ok {
		return []Problem{problem("class", "unknown class %q of a meter: known are %s", class, names(meters))}
	}
	if _, ok := m.units[unit]; !ok {
		return []Problem{problem("unit", "%q is not a unit of class %s: write %s", unit, class, names(m.units))}
	}
	return nil
}

// rateOf returns the quantity of the rate per hour of a meter.
func rateOf(class, unit string) sensors.Quantity {
	if per, ok := meters[class].units[unit]; ok {
		return sensors.Quantity{Name: "rate", Unit: per, Class: meters[class].rate}
	}
	if unit == "" {
		unit = "1"
	}
	return sensors.Quantity{Name: "rate", Unit: unit + "/h"}
}

// names returns the sorted keys of a map, for a message.
func names[V any](of map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}
