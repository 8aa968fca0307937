package config

import (
	"sort"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// readStanza is a stanza that was read and has no mistake so far.
type readStanza struct {
	entry
	stanza
	opts     drivers.Options
	priority sensors.Priority
	written  filterReader
}

// derivedStanza is one whose stream is computed from others. It has to wait until they are
// known: a unit follows from theirs.
type derivedStanza struct {
	readStanza
	opts  drivers.Deriver
	begun bool
}

// derive reads the stanzas of streams that are computed from others, each after its
// sources. complete says that no other stanza had a mistake: then a stream that is not
// there is one.
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
	// They were added last, and a person finds them where they are written.
	sort.SliceStable(r.specs, func(i, j int) bool {
		a, b := r.keys["sensors."+r.specs[i].Name], r.keys["sensors."+r.specs[j].Name]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
}

// streamName is how others name the stream.
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
	waiting  map[string]*derivedStanza // the rest, by the name of their stream
	complete bool
}

// add makes the streams of a sensor known.
func (d *deriver) add(spec sensors.Spec) {
	for _, st := range spec.AllStreams() {
		d.known[st.Name] = st
	}
}

// derive reads a stanza, and first those that its sources are made by.
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
		d.suppress(w.path) // reported, here or at the source
		return
	}
	d.finish(w, of)
}

// finish tells the options what the sources are, and adds the sensor.
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
