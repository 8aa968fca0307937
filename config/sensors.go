package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// A stanza holds the keys that every kind of sensor takes.
type stanza struct {
	Kind    string               `yaml:"kind"`    // needed
	Every   time.Duration        `yaml:"every"`   // 1ms to 7d; 0: the kind's own pace
	Class   string               `yaml:"class"`   // Home Assistant's, for a kind of one quantity
	Name    label                `yaml:"name"`    // what people call it, unless the kind has a key of that name
	Area    label                `yaml:"area"`    // where it is
	Streams map[string]yaml.Node `yaml:"streams"` // what is said of streams, by quantity: see streamKeys
	filterNodes
	payloadKeys

	streams map[string]streamKeys // what Streams holds
}

// A sensorReader reads the stanzas of the sensors, one after the other.
type sensorReader struct {
	*reader
	specs   []sensors.Spec       // those of the stanzas that are good so far
	derived []*derivedStanza     // read when the others are
	shared  map[string]sharedBus // by the name of the bus
}

// A sharedBus is what the first sensor on a bus says of it.
type sharedBus struct{ path, settings string }

// sensors returns what all stanzas say, in the order of the file. A stanza with a
// mistake is left out; a file without one that is good is a mistake.
func (r *reader) sensors(n *yaml.Node) []sensors.Spec {
	s := sensorReader{reader: r, shared: map[string]sharedBus{}}
	s.readAll(n)
	return s.specs
}

// readAll reads every stanza under sensors. An agent without a sensor would be
// healthy and silent for ever, so there has to be one.
func (r *sensorReader) readAll(n *yaml.Node) {
	if r.bad["sensors"] {
		return
	}
	if n.Kind == 0 || isNull(resolve(n)) {
		r.failKey("sensors", "needs one sensor or more, such as door: {kind: contact, gpio: GPIO17}")
		return
	}
	list := r.entries(n, "sensors")
	if len(list) == 0 && !r.bad["sensors"] {
		r.failKey("sensors", "needs one sensor or more, such as door: {kind: contact, gpio: GPIO17}")
	}
	for _, e := range list {
		r.sensor(e)
	}
	if len(r.derived) > 0 {
		r.derive(r.derived, len(r.specs)+len(r.derived) == len(list))
	}
}

// sensor reads one stanza. Without a kind that is known only the keys of all kinds
// are read, so that their mistakes are reported, too; the rest could be anything.
func (r *sensorReader) sensor(e entry) {
	// A wrong name does not keep the rest from being checked.
	var s stanza
	if text := nameProblem(e.key); text != "" {
		r.failKey(e.path, "%s", text)
	}
	opts, ok := r.kind(e)
	if !ok {
		r.part(e.value, e.path, reflect.ValueOf(&s).Elem())
		r.streamKeys(e.path, s.Streams)
		readFilters(r.reader, e.path, &s, nil)
		return
	}
	r.mapping(e.value, e.path, reflect.ValueOf(&s).Elem(), reflect.ValueOf(opts).Elem())
	s.streams = r.streamKeys(e.path, s.Streams)
	if hasKey(opts, "name") { // of the part, such as that of its driver
		s.Name = ""
	}
	priority, written := r.priority(s, e.path), readFilters(r.reader, e.path, &s, opts)
	if !r.check(e.path, opts) {
		return // what is wrong promises nothing about its pace and quantities
	}
	if c, ok := opts.(drivers.Claimer); ok {
		r.claim(e.path, c.Claims())
	}
	if s, ok := opts.(drivers.Sharer); ok {
		r.share(e.path, s)
	}
	read := readStanza{e, s, opts, priority, written}
	if d, ok := opts.(drivers.Deriver); ok {
		r.derived = append(r.derived, &derivedStanza{readStanza: read, opts: d})
		return
	}
	every := r.pace(e.path, s, opts)
	r.specs = append(r.specs, r.spec(read, every, every))
}

// spec makes the sensor of a stanza. every is its own pace, and streamEvery that of its
// streams, which differ where it has none of its own.
func (r *sensorReader) spec(s readStanza, every, streamEvery time.Duration) sensors.Spec {
	qs := s.opts.Quantities()
	s.written.checkQuantities(qs)
	spec := sensors.Spec{
		Name:    s.key,
		Title:   string(s.Name),
		Kind:    s.Kind,
		Every:   s.written.samplePace(qs, every),
		Streams: r.streamsOf(s.entry, s.stanza, streamEvery, s.priority, s.written, s.opts),
		Options: s.opts,
	}
	r.format(s.path, s.payloadKeys, spec.AllStreams())
	return spec
}

// kind returns the options of the kind that a stanza names, filled with their
// defaults. It is not ok if there is no such kind, which was reported.
func (r *sensorReader) kind(e entry) (drivers.Options, bool) {
	if at := resolve(e.value); at.Tag != "!!map" && !isNull(at) {
		return nil, false // the decoder complains
	}
	n := child(e.value, "kind")
	if n == nil {
		r.noKind(e)
		return nil, false
	}
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return nil, false // the decoder complains
	}
	opts, ok := r.open(n.Value)
	if !ok && !r.full() {
		r.errorAt(n, e.path+".kind", "%s", r.unknownKind(n.Value))
	}
	if !ok {
		r.suppress(e.path + ".kind")
	}
	return opts, ok
}

// unknownKind says what to write instead of a kind that does not exist: the kind
// that reads such a part, or the nearest name, and all that there are.
func (r *sensorReader) unknownKind(kind string) string {
	known := strings.Join(r.kinds(), ", ")
	// People write the name of the part: "ds18b20" is read by kind w1.
	other := drivers.KindFor(kind)
	if slices.Contains(r.kinds(), other) && !strings.EqualFold(other, kind) {
		return fmt.Sprintf("unknown kind %q: kind %q reads it; known are %s", kind, other, known)
	}
	if suggestion := similar(kind, r.kinds()); suggestion != "" {
		return fmt.Sprintf("unknown kind %q (did you mean %q?); known are %s", kind, suggestion, known)
	}
	return fmt.Sprintf("unknown kind %q; known are %s", kind, known)
}

// noKind reports a stanza without a kind, or with a misspelled one. It looks at the
// keys itself: without the kind the decoder does not know which of them are right.
func (r *sensorReader) noKind(e entry) {
	n := resolve(e.value)
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key := n.Content[i]; {
		case key.Tag == "!!merge":
			return // it may have been in there, and the decoder complains
		case glued(key.Value) == "kind":
			r.errorAt(key, e.path, noBlank, "kind: ")
			return
		case similar(key.Value, []string{"kind"}) != "":
			r.errorAt(key, e.path, "unknown key %q (did you mean %q?)", key.Value, "kind")
			return
		}
	}
	r.fail(e.at, e.path, "needs \"kind\"; known are %s", strings.Join(r.kinds(), ", "))
}

// check asks the kind about its options and reports whether they are valid. It says
// nothing about a key that was reported before, or below which something was: the
// option has its default then, and what the kind says would be of that.
func (r *sensorReader) check(path string, opts drivers.Options) bool {
	known := map[string][]reflect.Value{}
	fields(reflect.ValueOf(opts).Elem(), known)
	clean := r.clean(path, slices.Collect(maps.Keys(known))...)
	// Check sees the options as decoded; keys that failed to decode have their
	// defaults, so what it says of them is left out.
	problems := opts.Check()
	for _, p := range problems {
		at := strings.TrimSuffix(join(path, p.Key), ".")
		if p.Key == "" && !clean || p.Key != "" && !r.clean(path, p.Key) {
			continue
		}
		r.errorAt(r.place(at), at, "%s", p.Text)
	}
	return clean && len(problems) == 0
}

// claim makes sure that no two sensors or outputs have the same hardware: the second one to
// be opened would fail, or both would read nonsense. A sensor may share a part of what
// it claims, such as one address of a bus, but not with one that claims the whole.
func (r *reader) claim(path string, claims []string) {
	// A claim is "i2c-1 0x48 A1" or "i2c-1 0x48": the second is the whole of the first.
	for _, what := range claims {
		whole := drivers.ParentClaim(what)
		if other := cmp.Or(r.claims[what], r.claims[whole], r.parts[what]); other != "" {
			r.errorAt(r.keys[path], path, "%s belongs to %s already (line %d)", what, other, r.keys[other].Line)
			continue
		}
		r.claims[what] = path
		if whole != "" {
			r.parts[whole] = path
		}
	}
}

// share complains about a bus that another sensor reads with other settings.
func (r *sensorReader) share(path string, s drivers.Sharer) {
	bus, settings := s.Shares()
	first, ok := r.shared[bus]
	if !ok {
		r.shared[bus] = sharedBus{path, settings}
	} else if settings != first.settings {
		r.errorAt(r.keys[path], path, "%s has %s here and %s in %s (line %d): write the same in both",
			bus, settings, first.settings, first.path, r.keys[first.path].Line)
	}
}

// pace is the time between two measurements, the kind's own if the stanza has none;
// 0 for a sensor that reports by itself when something happens. Less than 1ms is
// rejected, because no bus here is that fast, and more than sensors.MaxEvery.
func (r *sensorReader) pace(path string, s stanza, opts drivers.Options) time.Duration {
	pace, path := opts.Pace(), path+".every"
	switch {
	case !r.has(path):
		return pace
	case r.bad[path]:
	case pace == 0:
		r.failKey(path, "a %s reports by itself when something happens: leave this out", s.Kind)
	case s.Every < time.Millisecond || s.Every > sensors.MaxEvery:
		r.failValue(path, "must be between 1ms and 7d")
	}
	return s.Every
}

// priority is that of all streams of a sensor. Thresholds make alarms of their
// own, and leave the measured streams routine.
func (r *sensorReader) priority(s stanza, path string) sensors.Priority {
	if s.Alarm.Kind == 0 || s.Alarm.Kind == yaml.MappingNode {
		return sensors.Routine
	}
	// alarm: true is a priority, alarm: {above: 30} is a threshold.
	var on bool
	if r.value(&s.Alarm, path+".alarm", reflect.ValueOf(&on).Elem()); on {
		return sensors.Alarm
	}
	return sensors.Routine
}
