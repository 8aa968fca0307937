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
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/rules"
)

// ruleKeys are the keys of a rule.
type ruleKeys struct {
	When  yaml.Node     `yaml:"when"`  // one condition: {stream: state}
	Any   []yaml.Node   `yaml:"any"`   // conditions, of which one has to be met
	All   []yaml.Node   `yaml:"all"`   // conditions, all of which have to be met
	For   time.Duration `yaml:"for"`   // to 24h
	Armed yaml.Node     `yaml:"armed"` // words of rules.ArmedWords, one or a list
	Fault faultWord     `yaml:"fault"` // trips: the condition of a stream that cannot be read is met
	Then  yaml.Node     `yaml:"then"`  // needed: {output: on, off or a time}
}

// faultWord is the meaning of a stream that cannot be read: true is "trips".
type faultWord bool

// UnmarshalText accepts trips and ignored.
func (f *faultWord) UnmarshalText(text []byte) error {
	switch string(text) {
	case "trips", "ignored":
		*f = string(text) == "trips"
		return nil
	}
	return fmt.Errorf("want trips or ignored, not %q%s", text, meant(string(text), []string{"trips", "ignored"}))
}

// A ruleReader reads the stanzas of the rules, one after the other.
type ruleReader struct {
	*reader
	streams map[string]sensors.Stream // by name, including those of outputs and of the panel
	outputs map[string]outputs.Spec   // by name
	panel   bool                      // there is an arming block
	rules   []rules.Rule
}

// rules returns all rules, in the order of the file. cfg has the existing streams and
// outputs.
func (r *reader) rules(n *yaml.Node, cfg Config, panel bool) []rules.Rule {
	if r.bad["rules"] || n.Kind == 0 {
		return nil
	}
	// Outputs and the panel have streams with states, like sensors, so rules may use them.
	rr := ruleReader{reader: r, streams: map[string]sensors.Stream{}, outputs: map[string]outputs.Spec{}, panel: panel}
	for _, st := range cfg.Uplink.Streams {
		rr.streams[st.Name] = st
	}
	for _, spec := range cfg.Outputs {
		rr.outputs[spec.Stream.Name] = spec
	}
	for _, e := range r.entries(n, "rules") {
		rr.rule(e)
	}
	return rr.rules
}

// rule reads one stanza. All its errors are reported.
func (r *ruleReader) rule(e entry) {
	// The name is not in a topic, but in "by" of readings and in the state file.
	if text := nameProblem(e.key); text != "" {
		r.failKey(e.path, "%s", text)
	}
	var k ruleKeys
	r.mapping(e.value, e.path, reflect.ValueOf(&k).Elem())
	rule := rules.Rule{Name: e.key, For: k.For, FaultTrips: bool(k.Fault)}
	r.conditions(e.path, k, &rule)
	if r.has(e.path + ".for") {
		between(r.reader, e.path+".for", k.For, 0, 24*time.Hour, "at most 24h")
	}
	rule.Armed = r.armed(e.path+".armed", k.Armed)
	rule.Then = r.actions(e.path, k.Then)
	r.rules = append(r.rules, rule)
}

// conditions reads the one key of when, any and all that exists.
func (r *ruleReader) conditions(path string, k ruleKeys, rule *rules.Rule) {
	// Two of them would need an order of evaluation, which the file does not show.
	var given []string
	for _, key := range []string{"when", "any", "all"} {
		if r.has(join(path, key)) {
			given = append(given, key)
		}
	}
	switch {
	case r.bad[path] || !r.clean(path, "when", "any", "all"):
		return
	case len(given) == 0:
		r.failKey(path, `needs "when", such as when: {door: open}; or "any" or "all" with several`)
		return
	case len(given) > 1:
		r.failKey(join(path, given[1]), "%q is there already: a rule has one of when, any and all", given[0])
		return
	}
	switch at := join(path, given[0]); given[0] {
	case "when": // equals any with one condition
		rule.Any = r.condition(k.When, at)
		if len(rule.Any) > 1 {
			r.failKey(at, "has several conditions: write them as a list under any or all, such as any: [{a: x}, {b: y}]")
		}
	case "any":
		rule.Any = r.list(k.Any, at)
	case "all":
		rule.All = r.list(k.All, at)
	}
}

// list reads the conditions of any and all.
func (r *ruleReader) list(nodes []yaml.Node, path string) (all []rules.Condition) {
	if len(nodes) == 0 && !r.bad[path] {
		r.failKey(path, "needs conditions, such as [{cellar: wet}, {kitchen: wet}]")
	}
	for i, n := range nodes {
		// A mapping of several conditions is split: under any and all it has the same meaning.
		at := fmt.Sprintf("%s[%d]", path, i)
		for _, c := range r.condition(n, at) {
			if slices.Contains(all, c) {
				r.failKey(join(at, c.Stream), "%s: %s is in the list already", c.Stream, c.Is)
			}
			all = append(all, c)
		}
	}
	return all
}

// condition reads {stream: state}. Several conditions in one mapping are all returned.
func (r *ruleReader) condition(n yaml.Node, path string) (all []rules.Condition) {
	list := r.entries(&n, path)
	if len(list) == 0 && !r.bad[path] {
		r.failKey(path, "needs a stream and its word, such as {door: open}")
	}
	for _, e := range list {
		var word string
		if r.value(e.value, e.path, reflect.ValueOf(&word).Elem()); r.bad[e.path] {
			continue
		}
		if r.stream(e.key, e.path) && r.word(e, word) {
			all = append(all, rules.Condition{Stream: e.key, Is: word})
		}
	}
	return all
}

// stream reports whether a stream with this name and with states exists; if not, the error
// is at the key at.
func (r *ruleReader) stream(name, at string) bool {
	st, ok := r.streams[name]
	switch {
	case !ok:
		// A threshold would create a stream with states.
		r.failKey(at, "there is no stream %q%s", name, meant(name, r.withStates()))
		return false
	case len(st.States) > 0:
		return true
	}
	if _, has := r.streams[name+"_alarm"]; has {
		r.failKey(at, "%s is a number: did you mean %q, whose words are ok and alarm?", name, name+"_alarm")
	} else {
		r.failKey(at, "%s is a number: give its sensor a threshold, such as alarm: {above: 30}, and use %s_alarm: alarm",
			name, name)
	}
	return false
}

// withStates are the names of the streams with states.
func (r *ruleReader) withStates() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(r.streams)) {
		if len(r.streams[name].States) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// word reports whether a stream has a state.
func (r *ruleReader) word(e entry, word string) bool {
	states := r.streams[e.key].States
	if slices.Contains(states, word) {
		return true
	}
	r.failValue(e.path, "%s is never %q%s; it is %s", e.key, word, meant(word, states), strings.Join(states, ", "))
	return false
}

// armed reads the modes in which a rule is active: one word or a list.
func (r *ruleReader) armed(path string, n yaml.Node) (words []string) {
	if !r.has(path) || r.bad[path] {
		return nil
	}
	if !r.panel {
		r.failKey(path, "there is no arming block: write one, such as arming: {exit: 30s}, or leave this out")
		return nil
	}
	// A single word needs no list; always and disarmed are always single.
	if resolve(&n).Kind == yaml.ScalarNode {
		var one string
		r.value(&n, path, reflect.ValueOf(&one).Elem())
		words = []string{one}
	} else {
		r.value(&n, path, reflect.ValueOf(&words).Elem())
	}
	if !r.badWithin[path] {
		r.armedWords(path, words)
	}
	return words
}

// armedWords checks the modes in which a rule is active.
func (r *ruleReader) armedWords(path string, words []string) {
	if len(words) == 0 {
		r.failKey(path, "needs a mode, such as [away, home]")
	}
	for i, w := range words {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !r.has(at) { // a single word
			at = path
		}
		switch {
		case !slices.Contains(rules.ArmedWords, w):
			r.failValue(at, "there is no mode %q%s; known are %s", w, meant(w, rules.ArmedWords),
				strings.Join(rules.ArmedWords, ", "))
		case slices.Contains(words[:i], w):
			r.failValue(at, "%s is in the list already", w)
		case len(words) > 1 && (w == rules.Always || w == arming.Disarmed):
			r.failValue(at, "%s stands alone: write another rule for the modes", w)
		}
	}
}

// actions reads {output: on, off or a time}.
func (r *ruleReader) actions(path string, n yaml.Node) (all []rules.Action) {
	if r.bad[path] || !r.need(path, "then") || r.bad[join(path, "then")] {
		return nil
	}
	path = join(path, "then")
	list := r.entries(&n, path)
	if len(list) == 0 && !r.bad[path] {
		r.failKey(path, "needs an output, such as {siren: 3m}")
	}
	for _, e := range list {
		var text string
		if r.value(e.value, e.path, reflect.ValueOf(&text).Elem()); r.bad[e.path] {
			continue
		}
		if a, ok := r.action(e, text); ok {
			all = append(all, a)
		}
	}
	return all
}

// action reads the order for an output. A time that the output would shorten is an error,
// because the user relies on it.
func (r *ruleReader) action(e entry, text string) (a rules.Action, ok bool) {
	spec, known := r.outputs[e.key]
	if !known {
		r.failKey(e.path, "there is no output %q%s", e.key, meant(e.key, slices.Sorted(maps.Keys(r.outputs))))
		return a, false
	}
	a = rules.Action{Output: e.key, On: text != "off", Safe: spec.Safe}
	if text != "on" && text != "off" {
		d, err := parseDuration(text)
		switch {
		case err != nil:
			r.failValue(e.path, "want on, off or a time such as 3m, not %q%s", text, meant(text, []string{"on", "off"}))
			return a, false
		case d < 10*time.Millisecond || d > maxTime:
			r.failValue(e.path, "a time has to be between 10ms and 30d; or write on or off")
			return a, false
		}
		a.For = d
	}
	r.checkTime(e, a, spec)
	return a, true
}

// checkTime reports a time that the output would not keep. A siren without max_on is
// refused at its own stanza, so "on" always has an end.
func (r *ruleReader) checkTime(e entry, a rules.Action, spec outputs.Spec) {
	switch {
	case a.For > 0 && spec.Safe:
		r.failValue(e.path, "%s is on at its safe level: write off, which lasts for its max_on", e.key)
	case spec.MaxOn > 0 && a.For > spec.MaxOn:
		r.failValue(e.path, "is longer than max_on of %s, which is %s", e.key, clock.FormatDuration(spec.MaxOn))
	}
}

// checkCycles reports rules that change a stream on which they depend, directly or through
// other rules, the panel, and streams that confirm an output: such rules would switch an
// output on and off for ever.
func (r *reader) checkCycles(cfg Config) {
	// First all edges of the graph, independent of the order of the rules.
	leads := map[string][]string{} // for each stream, the streams that it changes
	for _, spec := range cfg.Outputs {
		if spec.Confirm != nil {
			leads[spec.Stream.Name] = append(leads[spec.Stream.Name], spec.Confirm.Stream)
		}
	}
	if cfg.Arming != nil && cfg.Arming.Key != "" {
		leads[cfg.Arming.Key] = append(leads[cfg.Arming.Key], arming.StreamName)
	}
	for _, rule := range cfg.Rules {
		for _, from := range causes(rule) {
			leads[from] = append(leads[from], results(rule)...)
		}
	}
	// Then each rule is checked for a path from what it changes to what it depends on. One
	// error for a cycle is enough, because it names all rules of the cycle.
	told := map[string]bool{} // streams of cycles that were reported
	for _, rule := range cfg.Rules {
		for _, to := range results(rule) {
			way := wayTo(leads, to, causes(rule))
			path := "rules." + rule.Name
			if way == nil || r.badWithin[path] || told[to] {
				continue
			}
			for _, stream := range way {
				told[stream] = true
			}
			if to != arming.StreamName {
				path = join(path, "then."+to)
			} else {
				path = join(path, "armed")
			}
			r.failKey(path, "this rule looks at %s, and changes it: %s", way[len(way)-1],
				strings.Join(append([]string{way[len(way)-1]}, way...), " > "))
		}
	}
}

// causes are the streams that a rule depends on.
func causes(rule rules.Rule) (names []string) {
	for _, c := range rule.Conditions() {
		names = append(names, c.Stream)
	}
	return names
}

// results are the streams that a rule changes.
func results(rule rules.Rule) (names []string) {
	for _, a := range rule.Then {
		names = append(names, a.Output)
	}
	if rule.Trips() {
		names = append(names, arming.StreamName)
	}
	return names
}

// wayTo is a shortest path from a stream to one of several, including both ends; nil if
// there is none.
func wayTo(leads map[string][]string, from string, to []string) []string {
	came := map[string]string{from: ""} // for each stream, the previous one on the path; "" for the first
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if slices.Contains(to, at) {
			var way []string
			for ; at != ""; at = came[at] {
				way = append([]string{at}, way...)
			}
			return way
		}
		for _, next := range leads[at] {
			if _, seen := came[next]; !seen {
				came[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}
