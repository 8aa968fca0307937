package homeassistant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// The tables below are what Home Assistant 2026.9 accepts. testdata/sensor-classes.txt has
// the sources, and a test compares the two. If a device class does not allow the unit or the
// state class of an entity, Home Assistant refuses the entity with only a line in its log.
// So such a class is not announced, see ClassProblem. A version that does not know a class or
// a unit refuses the entity, too: docs/topics.md lists the classes that the oldest supported
// version does not know.

// A sensorClass is what a device class of the sensor platform allows. The lists are constants,
// separated by listSeparator: the code that fills slices would make the program 16 KiB larger.
type sensorClass struct {
	units        string // an empty last element allows no unit; anyUnit allows every unit
	stateClasses string // stateClassOf chooses one
}

const (
	listSeparator = ", "
	anyUnit       = "any"
)

// list splits the units or the state classes of a class.
func list(joined string) []string { return strings.Split(joined, listSeparator) }

// Lists that several classes share.
const (
	measurement = "measurement"
	totals      = "total, total_increasing"
	anyState    = "measurement, measurement_angle, total, total_increasing"

	micrograms = "µg/m³"
	pressures  = "mPa, Pa, hPa, kPa, bar, cbar, mbar, mmHg, inHg, inH₂O, psi"
	energies   = "J, kJ, MJ, GJ, mWh, Wh, kWh, MWh, GWh, TWh, cal, kcal, Mcal, Gcal"
	volumes    = "ft³, CCF, MCF, m³, L, mL, gal, fl. oz."
	speeds     = "Beaufort, ft/s, in/s, m/min, m/s, km/h, kn, mph, mm/s"
	fluxes     = "in/d, in/h, mm/d, mm/h"
)

// sensorClasses are the device classes of numbers, by their names.
var sensorClasses = map[string]sensorClass{
	"absolute_humidity":           {"g/m³, mg/m³", measurement},
	"apparent_power":              {"mVA, VA, kVA", measurement},
	"aqi":                         {"", measurement},
	"area":                        {"m², cm², km², mm², in², ft², yd², mi², ac, ha", anyState},
	"atmospheric_pressure":        {pressures, measurement},
	"battery":                     {"%", measurement},
	"blood_glucose_concentration": {"mg/dL, mmol/L", measurement},
	"carbon_dioxide":              {"ppm", measurement},
	"carbon_monoxide":             {"ppb, ppm, µg/m³, mg/m³", measurement},
	"conductivity":                {"S/cm, µS/cm, mS/cm", measurement},
	"current":                     {"µA, mA, A", measurement},
	"data_rate":                   {"bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s", measurement},
	"data_size": {"bit, kbit, Mbit, Gbit, B, kB, MB, GB, TB, PB, EB, ZB, YB, " +
		"KiB, MiB, GiB, TiB, PiB, EiB, ZiB, YiB", anyState},
	"distance":                         {"mm, cm, m, km, in, ft, yd, mi, nmi", anyState},
	"duration":                         {"d, h, min, s, ms, µs", anyState},
	"energy":                           {energies, totals},
	"energy_distance":                  {"kWh/100km, Wh/km, mi/kWh, km/kWh", measurement},
	"energy_storage":                   {energies, measurement},
	"frequency":                        {"mHz, Hz, kHz, MHz, GHz", measurement},
	"gas":                              {"CCF, MCF, ft³, m³, L", totals},
	"humidity":                         {"%", measurement},
	"illuminance":                      {"lx", measurement},
	"irradiance":                       {"W/m², BTU/(h⋅ft²)", measurement},
	"moisture":                         {"%", measurement},
	"monetary":                         {anyUnit, "total"},
	"nitrogen_dioxide":                 {"ppb, ppm, µg/m³", measurement},
	"nitrogen_monoxide":                {"ppb, µg/m³", measurement},
	"nitrous_oxide":                    {micrograms, measurement},
	"ozone":                            {"ppb, ppm, µg/m³", measurement},
	"ph":                               {"", measurement},
	"pm1":                              {micrograms, measurement},
	"pm10":                             {micrograms, measurement},
	"pm25":                             {micrograms, measurement},
	"pm4":                              {micrograms, measurement},
	"power":                            {"mW, W, kW, MW, GW, TW", measurement},
	"power_factor":                     {"%, ", measurement},
	"precipitation":                    {"in, mm, cm", anyState},
	"precipitation_intensity":          {fluxes, measurement},
	"pressure":                         {pressures, measurement},
	"radon":                            {"Bq/m³, pCi/L", measurement},
	"reactive_energy":                  {"varh, kvarh", totals},
	"reactive_power":                   {"mvar, var, kvar", measurement},
	"signal_strength":                  {"dB, dBm", measurement},
	"sound_pressure":                   {"dB, dBA", measurement},
	"speed":                            {speeds + listSeparator + fluxes, measurement},
	"sulphur_dioxide":                  {"ppb, µg/m³", measurement},
	"temperature":                      {"°C, °F, K", measurement},
	"temperature_delta":                {"°C, °F, K", measurement},
	"volatile_organic_compounds":       {"µg/m³, mg/m³", measurement},
	"volatile_organic_compounds_parts": {"ppb, ppm", measurement},
	"voltage":                          {"µV, mV, V, kV, MV", measurement},
	"volume":                           {volumes, totals},
	"volume_flow_rate":                 {"m³/h, m³/min, m³/s, ft³/min, L/h, L/min, L/s, gal/d, gal/h, gal/min, mL/s", measurement},
	"volume_storage":                   {volumes, measurement},
	"water":                            {"CCF, MCF, ft³, m³, gal, L", totals},
	"weight":                           {"g, kg, mg, µg, oz, lb, st", "measurement, total, total_increasing"},
	"wind_direction":                   {"°", "measurement_angle"},
	"wind_speed":                       {speeds, measurement},
}

// binaryClasses are the device classes of streams with two states.
var binaryClasses = []string{"battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door",
	"garage_door", "gas", "heat", "light", "lock", "moisture", "motion", "moving", "occupancy", "opening",
	"plug", "power", "presence", "problem", "running", "safety", "smoke", "sound", "tamper", "update",
	"vibration", "window"}

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
	case c.units == anyUnit || slices.Contains(list(c.units), oneMicro(s.Unit)):
		return ""
	case c.units == "":
		return fmt.Sprintf("Home Assistant takes the class %q without a unit, not with %q: its entity gets no class",
			s.Class, s.Unit)
	}
	units := strings.TrimSuffix(c.units, listSeparator) // without the empty one
	return fmt.Sprintf("Home Assistant takes the class %q in %s, not in %q: its entity gets no class", s.Class, units,
		s.Unit)
}

// ClassByName returns the name of a quantity of numbers if Home Assistant has a class of
// that name that takes its unit and keeps statistics of it, otherwise "".
func ClassByName(q sensors.Quantity) string {
	named := sensors.Stream{Quantity: q}
	named.Class = q.Name
	if len(q.States) > 0 || numericProblem(named) != "" || stateClassOf(q.Name, q.Total) == "" {
		return ""
	}
	return q.Name
}

// oneMicro replaces the Greek letter mu by the micro sign, which the table has. Home
// Assistant accepts both, and they look the same to the person who writes a unit.
func oneMicro(unit string) string { return strings.ReplaceAll(unit, "\u03bc", "\u00b5") }

// classOf returns the class of a stream, or "" if Home Assistant would refuse it.
func classOf(s sensors.Stream) string {
	if ClassProblem(s) != "" {
		return ""
	}
	return s.Class
}

// stateClassOf returns the state class of a number, for the statistics of Home Assistant:
// "total_increasing" for the count of a meter, "measurement" or "measurement_angle" for
// anything else. It returns "", which means no statistics, if the class does not allow it: a
// count with a class for measurements, or a measurement with a class for counts, such as
// energy.
func stateClassOf(class string, total bool) string {
	form := "measurement" // also the prefix of "measurement_angle"
	if total {
		form = "total_increasing"
	}
	if class == "" {
		return form
	}
	for _, state := range list(sensorClasses[class].stateClasses) {
		if strings.HasPrefix(state, form) {
			return state
		}
	}
	return ""
}
