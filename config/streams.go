package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
)

// A maker is the sensor of a stream.
type maker struct {
	sensor string // path of the sensor
	line   int    // line of its stanza
}

// streamsOf returns one stream for each quantity of a sensor. If the sensor has one
// quantity, the stream has the name of the sensor; if it has several, the name of the
// quantity is appended, unless the key streams renames the stream.
func (r *sensorReader) streamsOf(
	e entry, s stanza, every time.Duration, p sensors.Priority, written filterReader, opts drivers.Options,
) []sensors.Stream {
	// The class comes first: it may determine the quantities of a kind.
	qs := opts.Quantities()
	r.checkRenames(e.path, s, qs)
	r.class(e.path, s, opts, &qs)
	var all []sensors.Stream
	for _, q := range qs {
		// at is the key at which an error of the name is reported.
		name, at := e.key, e.path
		if len(qs) > 1 {
			name += "_" + q.Name
		}
		if given := s.streams[q.Name]; given.Stream != nil {
			name, at = *given.Stream, given.at
		}
		r.addStream(name, at, e)
		stream := sensors.Stream{Name: name, Kind: s.Kind, Every: every, Priority: p, Quantity: q,
			Filter: written.filterOf(q, every)}
		stream.Title, stream.Area = s.labels(q.Name, len(qs) > 1)
		// The alarm is a separate stream, and its name may collide like any other.
		if limit := stream.Filter.Alarm; limit != nil {
			limit.Stream = alarmOf(stream)
			r.addStream(limit.Stream.Name, join(e.path+".alarm", q.Name), e)
		}
		all = append(all, stream)
	}
	return all
}

// alarmOf is the alarm stream of a threshold. It has the pace of the measured stream, and
// always the priority of an alarm.
func alarmOf(st sensors.Stream) sensors.Stream {
	alarm := sensors.Stream{Name: st.Name + "_alarm", Kind: st.Kind, Every: st.Every, Priority: sensors.Alarm,
		Quantity: sensors.Quantity{Name: st.Quantity.Name + "_alarm", Class: "problem", States: sensors.AlarmStates}}
	alarm.Area = st.Area
	if st.Title != "" {
		alarm.Title = st.Title + " alarm"
	}
	return alarm
}

// checkRenames reports names for quantities that the sensor does not measure: they would
// have no effect, and the stream would have an unexpected name.
func (r *sensorReader) checkRenames(path string, s stanza, qs []sensors.Quantity) {
	// The error lists the quantities that exist.
	var names []string
	for _, q := range qs {
		names = append(names, q.Name)
	}
	for given := range s.streams {
		at := path + ".streams." + given
		if slices.Contains(names, given) || r.bad[at] {
			continue
		}
		r.failKey(at, "a %s measures no %q; it measures %s", s.Kind, given, strings.Join(names, ", "))
	}
}

// class sets the class of the only quantity. A kind with several quantities and an option
// of that name uses the option itself. A quantity without a class gets the class of its name:
// a simulated humidity in % is a humidity. `class: ""`, of the sensor or of the quantity,
// prevents that.
func (r *sensorReader) class(path string, s stanza, opts drivers.Options, qs *[]sensors.Quantity) {
	at := path + ".class"
	switch {
	case !r.has(at):
		*qs = slices.Clone(*qs) // the kind's list may be shared
		for i, q := range *qs {
			if !r.hasOwnClass(path, q.Name) {
				(*qs)[i].Class = cmp.Or(q.Class, homeassistant.ClassByName(q))
			}
		}
	case r.bad[at]:
	case len(*qs) != 1 && hasKey(opts, "class"):
	case len(*qs) != 1:
		// Several quantities cannot share a class, because each has another unit.
		r.failKey(at, "a %s measures %d quantities, which have their own classes", s.Kind, len(*qs))
	default:
		*qs = slices.Clone(*qs) // the kind's list may be shared
		(*qs)[0].Class = s.Class
	}
}

// hasOwnClass reports whether the file has a class, or an empty one, for one quantity of a
// sensor: lines has quantities, and modbus has registers.
func (r *sensorReader) hasOwnClass(path, quantity string) bool {
	return r.has(path+".quantities."+quantity+".class") || r.has(path+".registers."+quantity+".class")
}

// hasKey reports whether the options of a kind have a key of their own; nil has none.
func hasKey(opts drivers.Options, key string) bool {
	if opts == nil {
		return false
	}
	known := map[string][]reflect.Value{}
	fields(reflect.ValueOf(opts).Elem(), known)
	return known[key] != nil
}

// addStream adds the stream of a sensor, which must be unique: readings of two sensors in
// one stream would be one series for every consumer. The error is at the key that set the
// name.
func (r *sensorReader) addStream(name, at string, by entry) {
	if r.bad[at] {
		return
	}
	if text := topicLevelProblem(name); text != "" {
		// The user has not chosen this name, so the error explains how to choose one.
		if !strings.HasPrefix(at, by.path+".streams.") {
			text += `; name its stream otherwise under "streams"`
		}
		r.failKey(at, "%s", text)
		return
	}
	if first, taken := r.streams[name]; taken {
		r.failKey(at, "makes the stream %q, which %s makes already (line %d)", name, first.sensor, first.line)
		return
	}
	r.streams[name] = maker{by.path, by.at.Line}
}
