package main

import (
	_ "embed"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

//go:embed preamble.md
var preamble string

// varies describes how a kind's quantities depend on its options.
var varies = map[string]string{
	"ads1015": loopText,
	"ads1115": loopText,
	"contact": "`class` decides the class and the names of the states; the table shows them without a `class`.",
	"hwmon": "They are given by `inputs`: `temp1` is a temperature in °C, `humidity1` a humidity in %, `in0` a " +
		"voltage in V, `curr1` a current in A, `power1` a power in W, `fan1` a speed in rpm. With several inputs of " +
		"a sort, the quantity has the name of the input, too: `temperature_temp2`.",
	"derived": derivedText,
	"iio":     "They are given by `inputs`, or by the part's name if holdfast knows the part.",
	"lines":   "They are given by `quantity`, `unit` and the lines themselves.",
	"modbus": "They are given by `registers`. Each instrument on a line or behind a host is a sensor with its own " +
		"`unit_id`. `serial` and `timeout` must be the same for all of them. There is one request at a time.",
	"simulated": "They are given by `wave`, `steps` or `counter`; the table is for `counter`. `steps` have no `every`.",
}

const derivedText = "`difference` and `sum` have the unit of their sources, and `rate` has this unit per unit " +
	"of time (kWh per hour are kW, of class `power`). `dew_point` is in °C, `absolute_humidity` in g/m³, both by " +
	"Magnus' " +
	"formula over water, from -45 to 60 °C.\n\n```yaml\nsensors:\n" +
	"  room:  {kind: aht20, i2c: \"1\"}\n" +
	"  flow:  {kind: w1, id: 28-0316a2797bff}\n" +
	"  back:  {kind: w1, id: 28-0316a2797c00}\n" +
	"  meter: {kind: pulse, gpio: GPIO17, quantity: energy, unit: kWh, class: energy, per_pulse: 0.001}\n" +
	"  dew:   {kind: derived, dew_point: {temperature: room_temperature, humidity: room_humidity}, precision: 1}\n" +
	"  delta: {kind: derived, difference: [flow, back], alarm: {below: 2, for: 10m}}\n" +
	"  power: {kind: derived, rate: {of: meter_energy, per: hour}}\n```\n\n" +
	"A source is any stream of numbers of the node, also a derived one. All values of a source are used, even " +
	"if its `report` does not publish them. A value is computed when every source with an interval has a new " +
	"value, so the stream has the interval of its slowest source. Of a source that reports events, the last value " +
	"is used. `valid`, `alarm`, `report` and `precision` work as for other sensors. If a source has a fault, or no " +
	"value for three intervals, the stream has a fault, too, and its `error` begins with the name of the source. A " +
	"rate has no value at first, after a meter begins again at 0, and after three intervals without a value. A " +
	"difference of temperatures has the class `temperature_delta`."

const loopText = "`quantity` and `unit` rename it. With `loop` it is the state of a supervised loop instead."

// sensorsPage is docs/sensors.md. root is the folder of the module: the comments of the
// kinds are read below it.
func sensorsPage(root string) (string, error) {
	docs, err := kindComments(root)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(preamble)
	out.WriteString("\n## Kinds\n\n")
	for _, kind := range drivers.Kinds() {
		fmt.Fprintf(&out, "[%s](#%s)\n", kind, kind)
	}
	for _, kind := range drivers.Kinds() {
		if err := docs.section(&out, kind); err != nil {
			return "", err
		}
	}
	return markdown.Wrap(out.String()), nil
}

// kindComments are the comments of the packages that have kinds, by type and field. No two
// packages have a type with options of the same name.
func kindComments(root string) (comments, error) {
	all := comments{}
	for _, dir := range []string{"drivers", filepath.Join("drivers", "sysfs")} {
		docs, err := readComments(filepath.Join(root, "sensors", dir))
		if err != nil {
			return nil, err
		}
		maps.Copy(all, docs)
	}
	return all, nil
}

func (c comments) section(out *strings.Builder, kind string) error {
	about := drivers.Describe(kind)
	o, _ := drivers.New(kind)
	all, err := c.optionsOf(kind, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n### %s\n\n%s. Follows %s.\n%s\n", kind, upper(about.Part), about.Source, paceText(kind, o))
	quantities(out, kind, o.Quantities())
	if len(all) == 0 {
		fmt.Fprintf(out, "\nThis kind has no other options.\n")
		return nil
	}
	fmt.Fprintf(out, "\n| option | type | default | |\n|---|---|---|---|\n")
	for _, opt := range all {
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", opt.key, opt.kind, code(opt.preset), cell(opt.doc))
	}
	return nil
}

func paceText(kind string, o drivers.Options) string {
	if kind == "lines" {
		return "Reports each line; with `every`, a `command` is run at this interval."
	}
	if pace := o.Pace(); pace > 0 {
		return fmt.Sprintf("Measures every %s unless `every` says otherwise.", clock.FormatDuration(pace))
	}
	return "Reports events; it has no `every`."
}

func quantities(out *strings.Builder, kind string, all []sensors.Quantity) {
	if text := varies[kind]; text != "" {
		fmt.Fprintf(out, "\nThe quantities depend on the options. %s\n", text)
	} else if len(all) == 0 {
		fmt.Fprintf(out, "\nThe quantities depend on the options.\n")
	}
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(out, "\n| quantity | unit | class |\n|---|---|---|\n")
	for _, q := range all {
		unit := q.Unit
		if len(q.States) > 0 {
			unit = "`" + strings.Join(q.States, "`, `") + "`"
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", code(q.Name), unit, code(q.Class))
	}
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell escapes a text for a table cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
