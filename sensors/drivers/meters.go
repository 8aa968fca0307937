package drivers

import (
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// meters are the device classes of Home Assistant for what a meter counts, each
// with its units, and the unit of its rate per hour.
var meters = map[string]struct {
	units map[string]string // and the unit per hour
	rate  string            // the device class of the rate
}{
	"precipitation": {map[string]string{"mm": "mm/h", "in": "in/h"}, "precipitation_intensity"},
	"water":         {volumes, "volume_flow_rate"},
	"gas":           {map[string]string{"m³": "m³/h"}, "volume_flow_rate"},
	"volume":        {volumes, "volume_flow_rate"},
	"energy":        {map[string]string{"Wh": "W", "kWh": "kW", "MWh": "MW"}, "power"},
}

var volumes = map[string]string{"L": "L/h", "m³": "m³/h"}

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

// rateOf is the quantity per hour of what a meter counts.
func rateOf(class, unit string) sensors.Quantity {
	if per, ok := meters[class].units[unit]; ok {
		return sensors.Quantity{Name: "rate", Unit: per, Class: meters[class].rate}
	}
	if unit == "" {
		unit = "1"
	}
	return sensors.Quantity{Name: "rate", Unit: unit + "/h"}
}

func names[V any](of map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}
