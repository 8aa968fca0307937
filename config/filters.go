package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/sensors"
)

// filterNodes are the keys of a stanza that say which samples become readings.
// What they hold is for all that the sensor measures, or stands under the names
// of its quantities.
type filterNodes struct {
	Valid   yaml.Node `yaml:"valid"`
	Average int       `yaml:"average"`
	Alarm   yaml.Node `yaml:"alarm"` // or true, which is the priority of all its streams
	Report  yaml.Node `yaml:"report"`
}

// validKeys bound the values that are taken for real, in the unit of the quantity.
type validKeys struct {
	Min  *float64 `yaml:"min"`
	Max  *float64 `yaml:"max"`
	Jump float64  `yaml:"jump"`
}

// limitKeys are the threshold of an alarm, in the unit of the quantity. Exactly one
// of Above and Below has to be written.
type limitKeys struct {
	Above *float64      `yaml:"above"`
	Below *float64      `yaml:"below"`
	Clear *float64      `yaml:"clear"`
	For   time.Duration `yaml:"for"`
}

// reportKeys say when a value is reported: after a change of that much, in the unit
// of the quantity, and after that time in any case.
type reportKeys struct {
	Change  float64       `yaml:"change"`
	AtLeast time.Duration `yaml:"at_least"`
}

// filters holds the filter keys of a stanza by quantity; "" holds what is for all of them.
type filters struct {
	valid  map[string]validKeys
	limit  map[string]limitKeys
	report map[string]reportKeys
}

// filters reads what a stanza says, whatever its sensor measures.
func (r *reader) filters(n *filterNodes, path string) filters {
	w := filters{
		valid:  byQuantity[validKeys](r, &n.Valid, path+".valid"),
		report: byQuantity[reportKeys](r, &n.Report, path+".report"),
	}
	if n.Alarm.Kind == yaml.MappingNode {
		w.limit = byQuantity[limitKeys](r, &n.Alarm, path+".alarm")
	}
	return w
}

// byQuantity decodes one filter key. A mapping of mappings has the names of
// quantities as its keys; any other value is for all quantities.
func byQuantity[T any](r *reader, n *yaml.Node, path string) map[string]T {
	all := map[string]T{}
	fill := func(n *yaml.Node, path, quantity string) {
		var one T
		r.value(n, path, reflect.ValueOf(&one).Elem())
		all[quantity] = one
	}
	switch {
	case n.Kind == 0:
	case namesQuantities(n):
		for _, e := range r.entries(n, path) {
			fill(e.value, e.path, e.key)
		}
	default:
		fill(n, path, "")
	}
	return all
}

// namesQuantities tells {temperature: {above: 30}} from {above: 30}.
func namesQuantities(n *yaml.Node) bool {
	for i := 1; i < len(n.Content); i += 2 {
		if resolve(n.Content[i]).Kind == yaml.MappingNode {
			return true
		}
	}
	return false
}

// checkQuantities complains about what is said of quantities that the sensor does not
// measure, and about thresholds that would be for several at once.
func (r *reader) checkQuantities(path string, s stanza, w filters, qs []sensors.Quantity) {
	var names []string
	for _, q := range qs {
		names = append(names, q.Name)
	}
	check := func(key string, quantities []string, example string) {
		at := path + "." + key
		for _, q := range quantities {
			switch {
			case r.badWithin[join(at, q)], slices.Contains(names, q):
			case q != "":
				r.failKey(join(at, q), "a %s measures no %q; it measures %s", s.Kind, q, strings.Join(names, ", "))
			case example != "" && len(qs) > 1:
				r.failKey(at, "a %s measures %s: say which is meant, as in %s: {%s: {%s}}",
					s.Kind, strings.Join(names, ", "), key, names[0], example)
			}
		}
	}
	check("valid", sorted(w.valid), "min: 0, max: 60")
	check("alarm", sorted(w.limit), "above: 30")
	check("report", sorted(w.report), "")
}

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
