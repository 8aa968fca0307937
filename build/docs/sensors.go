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

// varies says how a kind's quantities follow from its options.
var varies = map[string]string{
	"ads1015": loopText,
	"ads1115": loopText,
	"contact": "`class` gives the stream its class and its words; these are those without one.",
	"hwmon": "As `inputs` says: `temp1` is a temperature in °C, `humidity1` a humidity in %, `in0` a voltage in V, " +
		"`curr1` a current in A, `power1` a power in W, `fan1` a speed in rpm. Inputs that are alike have their " +
		"own name in that of the quantity: `temperature_temp2`.",
	"derived": derivedText,
	"iio":     "As `inputs` says, or the part's name where it is known.",
	"lines":   "As `quantity`, `unit` and the lines themselves say.",
	"modbus": "As `registers` says. Instruments on one line or behind one host are sensors of their own, which " +
		"differ in `unit_id`: one request at a time goes out, and `serial` and `timeout` are the same in all of them.",
	"simulated": "As `wave`, `steps` or `counter` says; the table is a `counter`'s. `steps` take no `every`.",
}

const derivedText = "`difference`, `sum` and `rate` have the unit of their sources, a rate per unit of time " +
	"(kWh per hour are kW, of class `power`). `dew_point` is in °C, `absolute_humidity` in g/m³, both by Magnus' " +
	"formula over water, from -45 to 60 °C.\n\n```yaml\nsensors:\n" +
	"  room:  {kind: aht20, i2c: \"1\"}\n" +
	"  flow:  {kind: w1, id: 28-0316a2797bff}\n" +
	"  back:  {kind: w1, id: 28-0316a2797c00}\n" +
	"  meter: {kind: pulse, gpio: GPIO17, quantity: energy, unit: kWh, class: energy, per_pulse: 0.001}\n" +
	"  dew:   {kind: derived, dew_point: {temperature: room_temperature, humidity: room_humidity}, precision: 1}\n" +
	"  delta: {kind: derived, difference: [flow, back], alarm: {below: 2, for: 10m}}\n" +
	"  power: {kind: derived, rate: {of: meter_energy, per: hour}}\n```\n\n" +
	"A source is any stream of numbers of the node, also a derived one. Each of its values counts, whatever " +
	"its `report` lets through. A value is computed when every source with a pace has measured anew, so the " +
	"stream has the pace of its slowest source; a source that reports when something happens counts with its last " +
	"value. `valid`, `alarm`, `report` and `precision` work as everywhere. A fault of a source is one of the " +
	"stream, and its `error` begins with the source's name; so is a source that says nothing for three of its " +
	"paces. A rate has no value at first, after a meter begins again at 0, and after such a silence. A difference " +
	"of temperatures has the class `temperature_delta`."

const loopText = "`quantity` and `unit` name it otherwise. With `loop` it is the state of a supervised loop instead."

// sensorsPage is docs/sensors.md. It reads the comments of the kinds below root, the
// folder of the module.
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

// kindComments are the comments of the packages that have kinds, by type and field. Two
// packages have no type of one name with options.
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
		fmt.Fprintf(out, "\nIt has no options of its own.\n")
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
		return "Reports when a line comes; a `command` with `every` is run that often."
	}
	if pace := o.Pace(); pace > 0 {
		return fmt.Sprintf("Measures every %s unless `every` says otherwise.", clock.FormatDuration(pace))
	}
	return "Reports when something happens, and takes no `every`."
}

func quantities(out *strings.Builder, kind string, all []sensors.Quantity) {
	if text := varies[kind]; text != "" {
		fmt.Fprintf(out, "\nWhat it measures depends on its options. %s\n", text)
	} else if len(all) == 0 {
		fmt.Fprintf(out, "\nWhat it measures depends on its options.\n")
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

// cell keeps a text inside its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
