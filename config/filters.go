package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// filterNodes are the keys of a stanza that decide which samples become readings. Each is
// for all quantities of the sensor, or a mapping by quantity. nil is an absent key: a node
// is large, and a file may have thousands of stanzas.
type filterNodes struct {
	Scale     *yaml.Node `yaml:"scale"`     // a number, not 0
	Offset    *yaml.Node `yaml:"offset"`    // a number, in the unit of the quantity
	Calibrate *yaml.Node `yaml:"calibrate"` // a list of pointKeys, instead of scale and offset
	Valid     *yaml.Node `yaml:"valid"`
	Average   int        `yaml:"average"`   // samples in a reading, 1 or more
	Median    int        `yaml:"median"`    // the same; only one of the two
	Alarm     yaml.Node  `yaml:"alarm"`     // or true: the priority of all its streams
	Report    *yaml.Node `yaml:"report"`    // by quantity or for all
	Precision *yaml.Node `yaml:"precision"` // decimal places; by quantity or for all
}

// pointKeys are one point of a calibration. Both keys are needed.
type pointKeys struct {
	Reads *float64 `yaml:"reads"` // in the unit of the sensor
	Is    *float64 `yaml:"is"`    // in the unit of the quantity
}

// validKeys limit the values that are accepted, in the unit of the quantity.
type validKeys struct {
	Min  *float64 `yaml:"min"`  // nil: no limit
	Max  *float64 `yaml:"max"`  // more than Min
	Jump float64  `yaml:"jump"` // difference from the previous value; more than 0
}

// limitKeys are the threshold of an alarm, in the unit of the quantity. Exactly one of
// Above and Below is needed.
type limitKeys struct {
	Above *float64      `yaml:"above"` // the alarm starts above this
	Below *float64      `yaml:"below"` // or below this
	Clear *float64      `yaml:"clear"` // the alarm ends here; nil: at the threshold
	For   time.Duration `yaml:"for"`   // how long the value has to be beyond the threshold, to 24h
}

// reportKeys decide when a value is reported: after a change of this size, in the unit of
// the quantity, and in any case after this time.
type reportKeys struct {
	Change  float64       `yaml:"change"`   // more than 0
	AtLeast time.Duration `yaml:"at_least"` // 1s to 7d, and longer than the pace
}

// A filterReader has the filter keys of one stanza by quantity, and checks them once the
// quantities of the sensor are known. "" is the key for all quantities.
type filterReader struct {
	*reader
	path      string // of the stanza
	stanza    *stanza
	scale     map[string]float64
	offset    map[string]float64
	calibrate map[string][]pointKeys
	valid     map[string]validKeys
	limit     map[string]limitKeys
	report    map[string]reportKeys
	precision map[string]int
}

// readFilters decodes the filter keys of a stanza. If the kind is unknown opts is nil: then
// the keys are only decoded to find errors.
func readFilters(r *reader, path string, s *stanza, opts drivers.Options) filterReader {
	f := filterReader{reader: r, path: path, stanza: s}
	r.byQuantity(s.Calibrate, path+".calibrate", namesLists, &f.calibrate)
	r.byQuantity(s.Valid, path+".valid", namesQuantities, &f.valid)
	r.byQuantity(s.Report, path+".report", namesQuantities, &f.report)
	r.byQuantity(s.Precision, path+".precision", isMapping, &f.precision)
	// A kind that has such a key itself makes the correction itself.
	if s.Scale != nil && !hasKey(opts, "scale") {
		r.byQuantity(s.Scale, path+".scale", isMapping, &f.scale)
	}
	if s.Offset != nil && !hasKey(opts, "offset") {
		r.byQuantity(s.Offset, path+".offset", isMapping, &f.offset)
	}
	if s.Alarm.Kind == yaml.MappingNode {
		r.byQuantity(&s.Alarm, path+".alarm", namesQuantities, &f.limit)
	}
	return f
}

// byQuantity decodes one filter key, unless it is absent, into a map by quantity, to which
// into points. If named returns true, the keys of the node are names of quantities;
// otherwise the value is for all quantities. It uses reflection, because a generic function
// would be compiled once for each filter key.
func (r *reader) byQuantity(n *yaml.Node, path string, named func(*yaml.Node) bool, into any) {
	if n == nil {
		return
	}
	all := reflect.ValueOf(into).Elem()
	all.Set(reflect.MakeMap(all.Type()))
	fill := func(n *yaml.Node, path, quantity string) {
		one := reflect.New(all.Type().Elem()).Elem()
		r.value(n, path, one)
		all.SetMapIndex(reflect.ValueOf(quantity), one)
	}
	if !named(n) {
		fill(n, path, "")
		return
	}
	for _, e := range r.entries(n, path) {
		fill(e.value, e.path, e.key)
	}
}

// isMapping distinguishes {temperature: 0.5} from 0.5.
func isMapping(n *yaml.Node) bool { return n.Kind == yaml.MappingNode && len(n.Content) > 0 }

// namesLists distinguishes {humidity: [{reads: 1, is: 2}]} from a point without its list,
// {reads: 1, is: 2}.
func namesLists(n *yaml.Node) bool {
	for i := 1; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if resolve(n.Content[i]).Kind != yaml.ScalarNode {
			return true
		}
	}
	return false
}

// namesQuantities distinguishes {temperature: {above: 30}} from {above: 30}. The types of
// the values decide, not the names: a quantity may be called "min".
func namesQuantities(n *yaml.Node) bool {
	for i := 1; i < len(n.Content); i += 2 {
		if resolve(n.Content[i]).Kind == yaml.MappingNode {
			return true
		}
	}
	return false
}

// checkQuantities reports keys for quantities that the sensor does not measure, and
// thresholds that would be for several quantities at once.
func (f *filterReader) checkQuantities(qs []sensors.Quantity) {
	var names []string
	for _, q := range qs {
		names = append(names, q.Name)
	}
	// example is a valid value for one quantity; "" if a value for all makes sense.
	check := func(key string, quantities []string, example string) {
		at := f.path + "." + key
		for _, q := range quantities {
			switch {
			case f.badWithin[join(at, q)], slices.Contains(names, q):
			case q != "":
				f.failKey(join(at, q), "a %s measures no %q; it measures %s", f.stanza.Kind, q,
					strings.Join(names, ", "))
			case example != "" && len(qs) > 1:
				f.failKey(at, "a %s measures %s: say which is meant, as in %s: {%s: %s}",
					f.stanza.Kind, strings.Join(names, ", "), key, names[0], example)
			}
		}
	}
	check("scale", sorted(f.scale), "1.02")
	check("offset", sorted(f.offset), "-0.4")
	check("calibrate", sorted(f.calibrate), "[{reads: 0.5, is: 0}, {reads: 99.1, is: 100}]")
	check("valid", sorted(f.valid), "{min: 0, max: 60}")
	check("alarm", sorted(f.limit), "{above: 30}")
	check("report", sorted(f.report), "")
	check("precision", sorted(f.precision), "")
}

// sorted returns the keys of a map in order, so that errors always have the same order. The
// keys are strings. See byQuantity for the reason of the reflection.
func sorted(m any) []string {
	var names []string
	for _, key := range reflect.ValueOf(m).MapKeys() {
		names = append(names, key.String())
	}
	slices.Sort(names)
	return names
}
