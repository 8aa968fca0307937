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

// A stanza has the keys that every kind of sensor takes.
type stanza struct {
	Kind    string               `yaml:"kind"`    // needed
	Every   time.Duration        `yaml:"every"`   // 1ms to 7d; 0: the kind's own pace
	Class   string               `yaml:"class"`   // Home Assistant's, for a kind of one quantity
	Name    label                `yaml:"name"`    // display name, unless the kind has a key with this name
	Area    label                `yaml:"area"`    // where it is
	Streams map[string]yaml.Node `yaml:"streams"` // keys of the streams, by quantity: see streamKeys
	filterNodes
	payloadKeys

	streams map[string]streamKeys // the decoded Streams
}

// A sensorReader reads the stanzas of the sensors, one after the other.
type sensorReader struct {
	*reader
	specs   []sensors.Spec       // sensors of the valid stanzas so far
	derived []*derivedStanza     // read after the others
	shared  map[string]sharedBus // by the name of the bus
}

// A sharedBus has the settings that the first sensor on a bus uses.
type sharedBus struct{ path, settings string }

// sensors returns all sensors, in the order of the file. A stanza with an error is left
// out; a file without a valid one is an error.
func (r *reader) sensors(n *yaml.Node) []sensors.Spec {
	s := sensorReader{reader: r, shared: map[string]sharedBus{}}
	s.readAll(n)
	return s.specs
}

// readAll reads every stanza under sensors. There has to be at least one, because an agent
// without sensors would look healthy and publish nothing.
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

// sensor reads one stanza. If the kind is unknown only the keys of all kinds are read, so
// that their errors are reported too.
func (r *sensorReader) sensor(e entry) {
	// After a wrong name the rest is still checked.
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
	if hasKey(opts, "name") { // the kind's own name, such as that of its driver
		s.Name = ""
	}
	priority, written := r.priority(s, e.path), readFilters(r.reader, e.path, &s, opts)
	if !r.check(e.path, opts) {
		return // after an error the pace and the quantities are unknown
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

// spec returns the sensor of a stanza. every is the pace of the sensor, and streamEvery
// that of its streams, which differ if the sensor has none itself.
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

// kind returns the options of a stanza's kind, with the defaults. ok is false if there is
// no such kind, which was reported.
func (r *sensorReader) kind(e entry) (drivers.Options, bool) {
	if at := resolve(e.value); at.Tag != "!!map" && !isNull(at) {
		return nil, false // the decoder reports it
	}
	n := child(e.value, "kind")
	if n == nil {
		r.noKind(e)
		return nil, false
	}
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return nil, false // the decoder reports it
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

// unknownKind suggests a replacement for an unknown kind: the kind that reads this part, or
// the nearest name, and lists all kinds.
func (r *sensorReader) unknownKind(kind string) string {
	known := strings.Join(r.kinds(), ", ")
	// Users write the name of the part: "ds18b20" is read by kind w1.
	other := drivers.KindFor(kind)
	if slices.Contains(r.kinds(), other) && !strings.EqualFold(other, kind) {
		return fmt.Sprintf("unknown kind %q: kind %q reads it; known are %s", kind, other, known)
	}
	if suggestion := similar(kind, r.kinds()); suggestion != "" {
		return fmt.Sprintf("unknown kind %q (did you mean %q?); known are %s", kind, suggestion, known)
	}
	return fmt.Sprintf("unknown kind %q; known are %s", kind, known)
}

// noKind reports a stanza without a kind, or with a misspelt key. It checks the keys
// itself, because without the kind the decoder does not know the valid ones.
func (r *sensorReader) noKind(e entry) {
	n := resolve(e.value)
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key := n.Content[i]; {
		case key.Tag == "!!merge":
			return // the kind may be in there, and the decoder reports the error
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

// check calls the kind's check of its options and reports whether they are valid. It
// ignores problems of keys with an error at or below them: such an option has its default
// value.
func (r *sensorReader) check(path string, opts drivers.Options) bool {
	known := map[string][]reflect.Value{}
	fields(reflect.ValueOf(opts).Elem(), known)
	clean := r.clean(path, slices.Collect(maps.Keys(known))...)
	// Check sees the decoded options; keys that failed to decode have their defaults, so their
	// problems are left out.
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

// claim checks that no two sensors or outputs use the same hardware: the second one to be
// opened would fail, or both would read wrong values. Sensors may share a part of what they
// claim, such as one address of a bus, but not with one that claims the whole.
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

// share reports a bus that another sensor uses with other settings.
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

// pace is the time between two measurements, the kind's default if the stanza has none; 0
// for a sensor that reports events. Less than 1ms is rejected, because no bus is that fast,
// and so is more than sensors.MaxEvery.
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

// priority is the priority of all streams of a sensor. Thresholds create separate alarm
// streams, and leave the measured streams routine.
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
