package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/output"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// An outputStanza has the keys of an output.
type outputStanza struct {
	output.Keys `yaml:",inline"`

	Name      label         `yaml:"name"`      // display name
	Area      label         `yaml:"area"`      // where it is
	Class     string        `yaml:"class"`     // one of outputClasses
	Safe      level         `yaml:"safe"`      // off, or on for a lock that fails secure
	MaxOn     maxOn         `yaml:"max_on"`    // needed without pulse
	Rest      time.Duration `yaml:"rest"`      // to 24h
	Pulse     time.Duration `yaml:"pulse"`     // 10ms to 1m
	Interlock []string      `yaml:"interlock"` // names of outputs
	Confirm   confirmKeys   `yaml:"confirm"`
	LinkLost  linkLostKeys  `yaml:"link_lost"`
	Commands  bool          `yaml:"commands"`
}

// newOutputStanza returns an empty stanza.
func newOutputStanza() *outputStanza {
	return &outputStanza{Keys: output.DefaultKeys(), Safe: "off", Confirm: confirmKeys{Within: 3 * time.Second}}
}

// confirmKeys are the keys under confirm.
type confirmKeys struct {
	Stream string        `yaml:"stream"` // needed
	Is     string        `yaml:"is"`     // needed
	Within time.Duration `yaml:"within"` // 100ms to 1m
}

// linkLostKeys are the keys under link_lost.
type linkLostKeys struct {
	After time.Duration `yaml:"after"` // needed; to 24h
	Then  level         `yaml:"then"`  // needed
}

// outputClasses are the classes of outputs; the first is the default.
var outputClasses = []string{"switch", "outlet", "siren", "light", "lock", "valve", "water", "gas"}

const (
	classSiren = "siren"
	maxTime    = 30 * 24 * time.Hour // limit of max_on; for more there is the word never
)

// A level is "on" or "off".
type level string

// UnmarshalText accepts on and off, which are booleans in YAML 1.1.
func (l *level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "on", "off":
		*l = level(text)
		return nil
	}
	return fmt.Errorf("want on or off, not %q", text)
}

// maxOn is a duration, or 0 for never.
type maxOn time.Duration

// UnmarshalText accepts never, so that no limit is an explicit decision.
func (m *maxOn) UnmarshalText(text []byte) error {
	if string(text) == "never" {
		*m = 0
		return nil
	}
	d, err := parseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w, or never", err)
	}
	if d < 100*time.Millisecond || d > maxTime {
		return fmt.Errorf("must be between 100ms and 30d, or never")
	}
	*m = maxOn(d)
	return nil
}

// An outputReader reads the stanzas of the outputs, one after the other.
type outputReader struct {
	*reader
	specs   []outputs.Spec   // outputs of the valid stanzas so far
	sensors []sensors.Stream // streams that may confirm an output
	safeOn  map[string]bool  // by name of an output
}

// outputs returns all outputs, in the order of the file. streams are those of the sensors.
func (r *reader) outputs(n *yaml.Node, streams []sensors.Stream) []outputs.Spec {
	if r.bad["outputs"] || n.Kind == 0 {
		return nil
	}
	o := outputReader{reader: r, sensors: streams, safeOn: map[string]bool{}}
	list := r.entries(n, "outputs")
	for _, e := range list {
		o.output(e)
	}
	o.checkInterlocks()
	return o.specs
}

// runCommands reports whether one of the outputs runs a program.
func runCommands(specs []outputs.Spec) bool {
	return slices.ContainsFunc(specs, func(s outputs.Spec) bool {
		c, ok := s.Line.(drivers.Commander)
		return ok && c.RunsCommand()
	})
}

// takeOrders are the names of the outputs that take orders by MQTT.
func takeOrders(specs []outputs.Spec) (names []string) {
	for _, s := range specs {
		if s.Commands {
			names = append(names, s.Stream.Name)
		}
	}
	return names
}

// output reads one stanza. All its errors are reported.
func (r *outputReader) output(e entry) {
	s := newOutputStanza()
	r.mapping(e.value, e.path, reflect.ValueOf(s).Elem())
	r.name(e)
	r.safeOn[e.key] = s.Safe == "on"
	line := r.line(e.path, s)
	r.class(e.path, s.Class)
	r.times(e.path, s)
	spec := outputs.Spec{
		Stream: sensors.Stream{Name: e.key, Title: string(s.Name), Area: string(s.Area), Kind: "output",
			Priority: sensors.Alarm,
			Quantity: sensors.Quantity{Name: "output", Class: s.Class, States: []string{"off", "on"}}},
		Safe: s.Safe == "on", MaxOn: time.Duration(s.MaxOn), Rest: s.Rest, Pulse: s.Pulse, Interlock: s.Interlock,
		Confirm: r.confirm(e.path+".confirm", s.Confirm), LinkLost: r.linkLost(e.path+".link_lost", s.LinkLost),
		Commands: s.Commands, Line: line,
	}
	if spec.Pulse > 0 && spec.MaxOn == 0 {
		spec.MaxOn = spec.Pulse
	}
	if r.streams[e.key].line == e.at.Line { // otherwise the name is invalid
		r.specs = append(r.specs, spec)
	}
}

// name checks the name of an output, which is also that of its stream.
func (r *outputReader) name(e entry) {
	if text := topicLevelProblem(e.key); text != "" {
		r.failKey(e.path, "%s", text)
		return
	}
	if first, taken := r.streams[e.key]; taken {
		r.failKey(e.path, "makes the stream %q, which %s makes already (line %d)", e.key, first.sensor, first.line)
		return
	}
	r.streams[e.key] = maker{e.path, e.at.Line}
}

// line returns the line of an output, which no other output or sensor may have; nil if it
// is unknown.
func (r *outputReader) line(path string, s *outputStanza) any {
	known := map[string][]reflect.Value{}
	fields(reflect.ValueOf(&s.Keys).Elem(), known)
	clean := r.clean(path, slices.Collect(maps.Keys(known))...)
	opts, problems := s.Options(func(key string) bool { return r.has(join(path, key)) })
	for _, p := range problems {
		at := strings.TrimSuffix(join(path, p.Key), ".")
		if p.Key == "" && (!clean || r.bad[path]) || p.Key != "" && !r.clean(path, p.Key) {
			continue
		}
		r.errorAt(r.place(at), at, "%s", p.Text)
	}
	if !clean || len(problems) > 0 {
		return nil
	}
	r.claim(path, opts.Claims())
	return opts
}

// class checks the class of an output.
func (r *outputReader) class(path, class string) {
	path = join(path, "class")
	if !r.has(path) || r.bad[path] || slices.Contains(outputClasses, class) {
		return
	}
	r.failValue(path, "unknown class %q%s; known are %s", class, meant(class, outputClasses),
		strings.Join(outputClasses, ", "))
}

// meant is a suggestion in parentheses, "" if there is none.
func meant(word string, known []string) string {
	if s := similar(word, known); s != "" {
		return fmt.Sprintf(" (did you mean %q?)", s)
	}
	return ""
}

// times checks how long an output may be on. A siren without a limit is forbidden by law in
// many places, and a pump without one causes a flood: so the file must have a limit or an
// explicit never.
func (r *outputReader) times(path string, s *outputStanza) {
	at := join(path, "max_on")
	switch {
	case r.bad[path] || r.bad[at]:
	case !r.has(at) && !r.has(join(path, "pulse")):
		r.failKey(path, `needs "max_on": the longest time on, such as max_on: 3m, or max_on: never`)
	case r.has(at) && s.MaxOn == 0 && s.Class == classSiren:
		r.failValue(at, "a siren has to end: write the longest time on, such as 3m")
	}
	if at := join(path, "rest"); r.has(at) {
		between(r.reader, at, s.Rest, 0, 24*time.Hour, "at most 24h")
		if s.Rest > 0 && s.MaxOn == 0 && !r.bad[join(path, "max_on")] && !r.bad[path] {
			r.failKey(at, "is the rest after max_on, of which there is none")
		}
	}
	r.pulse(join(path, "pulse"), s)
}

// pulse checks the length of each order: at most max_on.
func (r *outputReader) pulse(at string, s *outputStanza) {
	if !r.has(at) {
		return
	}
	between(r.reader, at, s.Pulse, 10*time.Millisecond, time.Minute, "between 10ms and 1m")
	if longest := time.Duration(s.MaxOn); longest > 0 && s.Pulse > longest && !r.bad[at] {
		r.failValue(at, "is longer than max_on")
	}
}

// confirm checks the stream that shows what the output really does: a sensor's stream with
// two states.
func (r *outputReader) confirm(path string, k confirmKeys) *outputs.Confirm {
	if !r.has(path) || r.bad[path] {
		return nil
	}
	between(r.reader, path+".within", k.Within, 100*time.Millisecond, time.Minute, "between 100ms and 1m")
	if !r.need(path, "stream", "is") || r.bad[path+".stream"] {
		return nil
	}
	var names []string
	for _, st := range r.sensors {
		if len(st.States) == 2 {
			names = append(names, st.Name)
		}
		if st.Name != k.Stream {
			continue
		}
		r.confirmWord(path, k, st)
		return &outputs.Confirm{Stream: k.Stream, Is: k.Is, Within: k.Within}
	}
	r.failValue(path+".stream", "there is no stream %q of a sensor%s", k.Stream, meant(k.Stream, names))
	return nil
}

// confirmWord checks that a stream has two states, and that the word is one of them.
func (r *outputReader) confirmWord(path string, k confirmKeys, st sensors.Stream) {
	switch {
	case len(st.States) != 2:
		r.failValue(path+".stream", "%q has no two states: a contact has, and <stream>_alarm of a threshold", k.Stream)
	case !r.bad[path+".is"] && !slices.Contains(st.States, k.Is):
		r.failValue(path+".is", "%s is never %q%s; it is %s or %s", k.Stream, k.Is, meant(k.Is, st.States),
			st.States[0], st.States[1])
	}
}

// linkLost checks the action after the loss of the link.
func (r *outputReader) linkLost(path string, k linkLostKeys) *outputs.LinkLost {
	if !r.has(path) || r.bad[path] || !r.need(path, "after", "then") {
		return nil
	}
	between(r.reader, path+".after", k.After, 0, 24*time.Hour, "at most 24h")
	return &outputs.LinkLost{After: k.After, Then: k.Then == "on"}
}

// need reports missing keys under a path, and returns whether all exist.
func (r *reader) need(path string, keys ...string) bool {
	all := true
	for _, key := range keys {
		if at := join(path, key); !r.has(at) && !r.bad[at] {
			r.errorAt(nearest(r.keys, path), path, "needs %q", key)
			all = false
		}
	}
	return all
}

// checkInterlocks checks the names in all interlocks, when all outputs are known. An output
// whose safe level is on would block the other one for ever.
func (r *outputReader) checkInterlocks() {
	names := slices.Sorted(maps.Keys(r.safeOn))
	for _, spec := range r.specs {
		path := "outputs." + spec.Stream.Name + ".interlock"
		for i, other := range spec.Interlock {
			at := fmt.Sprintf("%s[%d]", path, i)
			_, known := r.safeOn[other]
			switch {
			case r.bad[path] || r.bad[at]:
			case other == spec.Stream.Name:
				r.failValue(at, "is the output itself: name the others")
			case !known:
				r.failValue(at, "there is no output %q%s", other, meant(other, names))
			case r.safeOn[other] || spec.Safe:
				r.failValue(at, "an output whose safe level is on has no interlock: it is on most of the time")
			}
		}
	}
}

// idleOutputs warns of outputs that nothing switches. They are not errors: the rule may be
// added later.
func (r *reader) idleOutputs(cfg Config) {
	used := map[string]bool{}
	for _, rule := range cfg.Rules {
		for _, a := range rule.Then {
			used[a.Output] = true
		}
	}
	for _, door := range cfg.Access {
		used[door.Output] = true
	}
	for _, spec := range cfg.Outputs {
		if name := spec.Stream.Name; !spec.Commands && !used[name] {
			path := "outputs." + name
			at := r.place(path)
			r.warnings = append(r.warnings, Error{r.file, at.Line, at.Column, path,
				"nothing switches it: write a rule for it, or commands: true"})
		}
	}
}
