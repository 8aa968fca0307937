package config

import (
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// accessStanza has the keys of a door under access.
type accessStanza struct {
	Reader       string        `yaml:"reader"`        // a stream
	Output       string        `yaml:"output"`        // an output that takes orders
	Open         time.Duration `yaml:"open"`          // 100ms to 1m; needed with allow_file, unless the output has pulse
	ValidFor     time.Duration `yaml:"valid_for"`     // 1s to 1m
	AnswerWithin time.Duration `yaml:"answer_within"` // at most valid_for
	AllowFile    fileName      `yaml:"allow_file"`
}

// newAccessStanza returns a stanza with the defaults. People wait two seconds at a door,
// and have gone after ten.
func newAccessStanza() *accessStanza {
	return &accessStanza{ValidFor: 10 * time.Second, AnswerWithin: 2 * time.Second}
}

// access returns the doors that open for a card, in the order of the file.
func (r *reader) access(n *yaml.Node, specs []sensors.Spec, known []outputs.Spec) (doors []access.Spec) {
	if r.bad["access"] || n.Kind == 0 {
		return nil
	}
	first := map[string]string{} // the first door of each output
	for _, e := range r.entries(n, "access") {
		s := newAccessStanza()
		r.mapping(e.value, e.path, reflect.ValueOf(s).Elem())
		if text := nameProblem(e.key); text != "" {
			r.failKey(e.path, "%s", text)
		}
		if !r.bad[e.path] && r.need(e.path, "reader", "output") {
			r.cardReader(e.path+".reader", s.Reader, specs)
			r.doorOutput(e.path, s, known)
			if other := first[s.Output]; other != "" {
				r.failValue(e.path+".output", "opens for the cards of %s already: a door has one reader", other)
			}
			first[s.Output] = e.key
		}
		r.accessTimes(e.path, s)
		doors = append(doors, access.Spec{Name: e.key, Reader: s.Reader, Output: s.Output, Open: s.Open,
			ValidFor: s.ValidFor, Within: s.AnswerWithin, AllowFile: string(s.AllowFile)})
	}
	return doors
}

// accessTimes checks the time limits of a door.
func (r *reader) accessTimes(path string, s *accessStanza) {
	between(r, path+".valid_for", s.ValidFor, time.Second, time.Minute, "between 1s and 1m")
	if at := path + ".answer_within"; !r.bad[at] && (s.AnswerWithin < 0 || s.AnswerWithin > s.ValidFor) {
		r.failValue(at, "must be at most valid_for, %v", s.ValidFor)
	}
	if at := path + ".open"; r.has(at) {
		between(r, at, s.Open, 100*time.Millisecond, time.Minute, "between 100ms and 1m")
	}
}

// cardReader checks the stream of a card reader: numbers, each of which is a reading, with
// the priority of alarms.
func (r *reader) cardReader(path, name string, specs []sensors.Spec) {
	var names []string
	for _, spec := range specs {
		for _, st := range spec.Streams {
			names = append(names, st.Name)
			if st.Name != name {
				continue
			}
			switch {
			case len(st.States) > 0:
				r.failValue(path, "%q has words: the number of a card is the value of a stream without states", name)
			case st.Priority != sensors.Alarm:
				r.failValue(path, "%q is not an alarm: add alarm: true to sensors.%s, so that a card goes first", name,
					spec.Name)
			case max(st.Filter.Average, st.Filter.Median) > 1 || st.Filter.Report != (sensors.Report{}):
				r.failValue(path, "%q has average, median or report: each card has to be a reading", name)
			case st.Filter.Corrects():
				r.failValue(path, "%q has scale, offset, calibrate or precision: a card's number has to stay as it is", name)
			}
			return
		}
	}
	if !r.bad[path] {
		r.failValue(path, "there is no stream %q of a sensor%s", name, meant(name, names))
	}
}

// doorOutput checks the output that opens a door. The back end answers with an order, so
// the output has to take orders.
func (r *reader) doorOutput(path string, s *accessStanza, known []outputs.Spec) {
	at := path + ".output"
	i := slices.IndexFunc(known, func(o outputs.Spec) bool { return o.Stream.Name == s.Output })
	switch {
	case r.bad[at]:
	case i < 0:
		var names []string
		for _, o := range known {
			names = append(names, o.Stream.Name)
		}
		r.failValue(at, "there is no output %q%s", s.Output, meant(s.Output, names))
	case !known[i].Commands:
		r.failValue(at, "%q takes no orders: add commands: true to outputs.%[1]s", s.Output)
	case known[i].Safe:
		// A card is answered with "on", which would leave such an output at its safe level: closed.
		r.failValue(at, "%q is on at its safe level, so on does not open it: wire it so that on opens the door, and leave "+
			"out safe: on in outputs.%[1]s", s.Output)
	case s.AllowFile != "" && !r.has(path+".open") && known[i].Pulse == 0:
		r.failKey(path, `needs "open": for how long the list opens the door, such as open: 5s`)
	}
}
