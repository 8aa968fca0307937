package config

import (
	"sort"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// readStanza is a stanza that was read without errors so far.
type readStanza struct {
	entry
	stanza
	opts     drivers.Options
	priority sensors.Priority
	written  filterReader
}

// derivedStanza is a stanza whose stream is computed from others. It is read after them,
// because its unit depends on theirs.
type derivedStanza struct {
	readStanza
	opts  drivers.Deriver
	begun bool
}

// derive reads the stanzas of computed streams, each after its sources. complete means that
// no other stanza had an error: then a source that does not exist is an error.
func (r *sensorReader) derive(waiting []*derivedStanza, complete bool) {
	d := deriver{r, map[string]sensors.Stream{}, map[string]*derivedStanza{}, complete}
	for _, spec := range r.specs {
		d.add(spec)
	}
	for _, w := range waiting {
		d.waiting[w.streamName()] = w
	}
	for _, w := range waiting {
		d.derive(w)
	}
	// They were added last, and have to be in the order of the file.
	sort.SliceStable(r.specs, func(i, j int) bool {
		a, b := r.keys["sensors."+r.specs[i].Name], r.keys["sensors."+r.specs[j].Name]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
}

// streamName is the name of the stream for other stanzas.
func (w *derivedStanza) streamName() string {
	for _, given := range w.streams {
		if given.Stream != nil {
			return *given.Stream
		}
	}
	return w.key
}

// deriver finds the sources of derived streams.
type deriver struct {
	*sensorReader
	known    map[string]sensors.Stream // by name
	waiting  map[string]*derivedStanza // stanzas that are not read yet, by the name of their stream
	complete bool
}

// add adds the streams of a sensor to the known ones.
func (d *deriver) add(spec sensors.Spec) {
	for _, st := range spec.AllStreams() {
		d.known[st.Name] = st
	}
}

// derive reads a stanza, after the stanzas of its sources.
func (d *deriver) derive(w *derivedStanza) {
	if w.begun {
		return
	}
	w.begun = true
	var of []sensors.Stream
	for _, source := range w.opts.Sources() {
		at := join(w.path, source.Key)
		other := d.waiting[source.Stream]
		if other != nil && other.begun && d.known[source.Stream].Name == "" && !d.bad[other.path] {
			d.failValue(at, "%q is computed from %q itself: streams cannot go in a circle", source.Stream, w.streamName())
			d.suppress(w.path)
			return
		}
		if other != nil {
			d.derive(other)
		}
		if st, ok := d.known[source.Stream]; ok {
			of = append(of, st)
		} else if other == nil && d.complete && !d.full() {
			d.failValue(at, "there is no stream %q of a sensor%s", source.Stream,
				meant(source.Stream, append(sorted(d.known), sorted(d.waiting)...)))
		}
	}
	if len(of) < len(w.opts.Sources()) {
		d.suppress(w.path) // an error was reported here or at the source
		return
	}
	d.finish(w, of)
}

// finish passes the sources to the options, and adds the sensor.
func (d *deriver) finish(w *derivedStanza, of []sensors.Stream) {
	problems := w.opts.Derive(of)
	for _, p := range problems {
		d.failValue(join(w.path, p.Key), "%s", p.Text)
	}
	if len(problems) > 0 {
		d.suppress(w.path)
		return
	}
	var slowest time.Duration
	derivation := w.opts.Derivation()
	for _, source := range derivation.Sources {
		slowest = max(slowest, source.Every)
	}
	spec := d.spec(w.readStanza, d.pace(w.path, w.stanza, w.opts), slowest)
	spec.Derived = derivation
	d.specs = append(d.specs, spec)
	d.add(spec)
}
