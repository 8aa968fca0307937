package homeassistant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// The tables below are what Home Assistant 2026.9 accepts. Where each line is from is in
// testdata/sensor-classes.txt, with which a test compares them. Home Assistant refuses an
// entity whose device class does not allow its unit or its state class, and the person sees
// no entity, only a line in Home Assistant's log: so such a class is not announced, see
// ClassProblem. A version that does not know a class or a unit yet refuses the entity, too:
// docs/topics.md has the classes that are younger than the oldest version that works.

// A sensorClass says what a device class of the sensor platform allows.
type sensorClass struct {
	units        []string // "" is no unit; nil allows every unit
	stateClasses []string // stateClassOf chooses among them
}

// Lists that several classes share. Nobody changes them.
var (
	measurement = []string{"measurement"}
	totals      = []string{"total", "total_increasing"}
	anyState    = []string{"measurement", "measurement_angle", "total", "total_increasing"}

	micrograms = of("µg/m³")
	pressures  = of("mPa", "Pa", "hPa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "inH₂O", "psi")
	energies   = of("J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal")
	volumes    = of("ft³", "CCF", "MCF", "m³", "L", "mL", "gal", "fl. oz.")
	speeds     = of("Beaufort", "ft/s", "in/s", "m/min", "m/s", "km/h", "kn", "mph", "mm/s")
	fluxes     = of("in/d", "in/h", "mm/d", "mm/h")
)

// of keeps the rows of the table short.
func of(units ...string) []string { return units }

// sensorClasses are the device classes of numbers, by their names.
var sensorClasses = map[string]sensorClass{
	"absolute_humidity":           {of("g/m³", "mg/m³"), measurement},
	"apparent_power":              {of("mVA", "VA", "kVA"), measurement},
	"aqi":                         {of(""), measurement},
	"area":                        {of("m²", "cm²", "km²", "mm²", "in²", "ft²", "yd²", "mi²", "ac", "ha"), anyState},
	"atmospheric_pressure":        {pressures, measurement},
	"battery":                     {of("%"), measurement},
	"blood_glucose_concentration": {of("mg/dL", "mmol/L"), measurement},
	"carbon_dioxide":              {of("ppm"), measurement},
	"carbon_monoxide":             {of("ppb", "ppm", "µg/m³", "mg/m³"), measurement},
	"conductivity":                {of("S/cm", "µS/cm", "mS/cm"), measurement},
	"current":                     {of("µA", "mA", "A"), measurement},
	"data_rate": {of("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "B/s", "kB/s", "MB/s", "GB/s",
		"KiB/s", "MiB/s", "GiB/s"), measurement},
	"data_size": {of("bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB",
		"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"), anyState},
	"distance":                         {of("mm", "cm", "m", "km", "in", "ft", "yd", "mi", "nmi"), anyState},
	"duration":                         {of("d", "h", "min", "s", "ms", "µs"), anyState},
	"energy":                           {energies, totals},
	"energy_distance":                  {of("kWh/100km", "Wh/km", "mi/kWh", "km/kWh"), measurement},
	"energy_storage":                   {energies, measurement},
	"frequency":                        {of("mHz", "Hz", "kHz", "MHz", "GHz"), measurement},
	"gas":                              {of("CCF", "MCF", "ft³", "m³", "L"), totals},
	"humidity":                         {of("%"), measurement},
	"illuminance":                      {of("lx"), measurement},
	"irradiance":                       {of("W/m²", "BTU/(h⋅ft²)"), measurement},
	"moisture":                         {of("%"), measurement},
	"monetary":                         {nil, of("total")},
	"nitrogen_dioxide":                 {of("ppb", "ppm", "µg/m³"), measurement},
	"nitrogen_monoxide":                {of("ppb", "µg/m³"), measurement},
	"nitrous_oxide":                    {micrograms, measurement},
	"ozone":                            {of("ppb", "ppm", "µg/m³"), measurement},
	"ph":                               {of(""), measurement},
	"pm1":                              {micrograms, measurement},
	"pm10":                             {micrograms, measurement},
	"pm25":                             {micrograms, measurement},
	"pm4":                              {micrograms, measurement},
	"power":                            {of("mW", "W", "kW", "MW", "GW", "TW"), measurement},
	"power_factor":                     {of("%", ""), measurement},
	"precipitation":                    {of("in", "mm", "cm"), anyState},
	"precipitation_intensity":          {fluxes, measurement},
	"pressure":                         {pressures, measurement},
	"radon":                            {of("Bq/m³", "pCi/L"), measurement},
	"reactive_energy":                  {of("varh", "kvarh"), totals},
	"reactive_power":                   {of("mvar", "var", "kvar"), measurement},
	"signal_strength":                  {of("dB", "dBm"), measurement},
	"sound_pressure":                   {of("dB", "dBA"), measurement},
	"speed":                            {slices.Concat(speeds, fluxes), measurement},
	"sulphur_dioxide":                  {of("ppb", "µg/m³"), measurement},
	"temperature":                      {of("°C", "°F", "K"), measurement},
	"temperature_delta":                {of("°C", "°F", "K"), measurement},
	"volatile_organic_compounds":       {of("µg/m³", "mg/m³"), measurement},
	"volatile_organic_compounds_parts": {of("ppb", "ppm"), measurement},
	"voltage":                          {of("µV", "mV", "V", "kV", "MV"), measurement},
	"volume":                           {volumes, totals},
	"volume_flow_rate": {of("m³/h", "m³/min", "m³/s", "ft³/min", "L/h", "L/min", "L/s", "gal/d", "gal/h",
		"gal/min", "mL/s"), measurement},
	"volume_storage": {volumes, measurement},
	"water":          {of("CCF", "MCF", "ft³", "m³", "gal", "L"), totals},
	"weight":         {of("g", "kg", "mg", "µg", "oz", "lb", "st"), of("measurement", "total", "total_increasing")},
	"wind_direction": {of("°"), of("measurement_angle")},
	"wind_speed":     {speeds, measurement},
}

// binaryClasses are the device classes of two states. They say nothing of units.
var binaryClasses = of("battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door",
	"garage_door", "gas", "heat", "light", "lock", "moisture", "motion", "moving", "occupancy", "opening",
	"plug", "power", "presence", "problem", "running", "safety", "smoke", "sound", "tamper", "update",
	"vibration", "window")

// ClassProblem returns why Home Assistant would refuse an entity with the class of
// a stream, as a sentence for a person; "" if it would not, or if the stream has no
// class. Such an entity is announced without a class. `holdfast check` shows the
// sentence as a warning.
func ClassProblem(s sensors.Stream) string {
	if s.Class == "" {
		return ""
	}
	switch platformOf(s) {
	case platformBinary:
		if !slices.Contains(binaryClasses, s.Class) {
			return fmt.Sprintf("Home Assistant has no class %q for two states: its entity gets none; it has %s",
				s.Class, strings.Join(binaryClasses, ", "))
		}
	case platformEnum:
		if s.Class != "enum" {
			return fmt.Sprintf("Home Assistant has no class for %d states: leave %q out", len(s.States), s.Class)
		}
	default:
		return numericProblem(s)
	}
	return ""
}

// numericProblem is ClassProblem for a stream of numbers.
func numericProblem(s sensors.Stream) string {
	c, ok := sensorClasses[s.Class]
	switch {
	case !ok:
		return fmt.Sprintf("Home Assistant has no class %q for a number: its entity gets none", s.Class)
	case c.units == nil || slices.Contains(c.units, oneMicro(s.Unit)):
		return ""
	case slices.Equal(c.units, of("")):
		return fmt.Sprintf("Home Assistant takes the class %q without a unit, not with %q: its entity gets no class",
			s.Class, s.Unit)
	}
	units := strings.Join(slices.DeleteFunc(slices.Clone(c.units), func(u string) bool { return u == "" }), ", ")
	return fmt.Sprintf("Home Assistant takes the class %q in %s, not in %q: its entity gets no class", s.Class, units,
		s.Unit)
}

// oneMicro replaces the Greek letter mu by the micro sign, as the table has it:
// Home Assistant accepts both, and they look the same to who writes a unit.
func oneMicro(unit string) string { return strings.ReplaceAll(unit, "\u03bc", "\u00b5") }

// classOf is the class of a stream; "" if Home Assistant would refuse it.
func classOf(s sensors.Stream) string {
	if ClassProblem(s) != "" {
		return ""
	}
	return s.Class
}

// stateClassOf is the state class of a number, by which Home Assistant keeps
// statistics: "total_increasing" for a meter's count, "measurement" or
// "measurement_angle" for anything else. It is "", which is no statistics, if the
// class does not allow that one: a count of a class that is only measured, or a
// value of a class that is only counted, such as energy.
func stateClassOf(class string, total bool) string {
	form := "measurement" // also the prefix of "measurement_angle"
	if total {
		form = "total_increasing"
	}
	if class == "" {
		return form
	}
	for _, state := range sensorClasses[class].stateClasses {
		if strings.HasPrefix(state, form) {
			return state
		}
	}
	return ""
}
