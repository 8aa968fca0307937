package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// pick returns the filter keys of one quantity and the path where they are
// written: keys under the quantity's own name win over those for all quantities.
// It is not ok if there are none, or if the decoder has rejected them.
func pick[T any](r *reader, written map[string]T, path, quantity string) (one T, at string, ok bool) {
	at = join(path, quantity)
	if one, ok = written[quantity]; !ok {
		at = path
		one, ok = written[""]
	}
	return one, at, ok && !r.badWithin[at]
}

// filterOf builds the filter of one quantity. Every check reports to the reader
// and goes on, so that a person sees all mistakes of a file at once; the filter
// has no meaning then.
func (r *reader) filterOf(path string, s stanza, w filters, q sensors.Quantity, every time.Duration) sensors.Filter {
	valid := r.valid(path, s, w, q)
	return sensors.Filter{
		Valid:   valid,
		Average: max(s.Average, 0),
		Alarm:   r.limit(path, s, w, q, valid),
		Report:  r.report(path, w, q, every),
	}
}

// valid checks the range that values have to lie in. A quantity with states has
// none: each of its states is valid.
func (r *reader) valid(path string, s stanza, w filters, q sensors.Quantity) sensors.Valid {
	v, at, ok := pick(r, w.valid, path+".valid", q.Name)
	switch {
	case !ok:
		return sensors.Valid{}
	case len(q.States) > 0:
		r.failKey(at, "a %s has states, all of which are valid: leave this out", s.Kind)
	case !r.has(at+".min") && !r.has(at+".max") && !r.has(at+".jump"):
		r.failKey(at, "needs min, max or jump, as in {min: -60, max: 60}")
	case v.Min != nil && v.Max != nil && *v.Min >= *v.Max:
		r.failValue(at+".max", "must be more than min, which is %s", number(*v.Min))
	case r.has(at+".jump") && v.Jump <= 0:
		r.failValue(at+".jump", "must be more than 0")
	}
	return sensors.Valid{Min: v.Min, Max: v.Max, Jump: v.Jump}
}

// report checks when a value is reported. An at_least that is not longer than
// the pace would report every reading, so it is a mistake.
func (r *reader) report(path string, w filters, q sensors.Quantity, every time.Duration) sensors.Report {
	v, at, ok := pick(r, w.report, path+".report", q.Name)
	states := len(q.States) > 0
	switch {
	case !ok:
		return sensors.Report{}
	case !r.has(at+".change") && !r.has(at+".at_least"):
		r.failKey(at, "needs change, at_least or both, as in {change: 0.3, at_least: 10m}")
	case states && r.has(at+".change"):
		r.failKey(at+".change", "each change of a state is reported: leave this out")
	case r.has(at+".change") && v.Change <= 0:
		r.failValue(at+".change", "must be more than 0")
	case r.has(at+".at_least") && v.AtLeast < time.Second:
		r.failValue(at+".at_least", "must be 1s or more")
	case r.has(at+".at_least") && v.AtLeast <= every:
		r.failValue(at+".at_least", "must be longer than the %s between two readings: all would be reported",
			duration(every))
	}
	return sensors.Report(v)
}

// limit checks the threshold of an alarm. Without clear the alarm ends where it
// began. A threshold outside of the valid range could never be reached.
func (r *reader) limit(path string, s stanza, w filters, q sensors.Quantity, valid sensors.Valid) *sensors.Limit {
	v, at, ok := pick(r, w.limit, path+".alarm", q.Name)
	switch {
	case !ok:
		return nil
	case len(q.States) > 0:
		r.failKey(at, "a %s has states and no threshold: alarm: true puts every one of them in the alarm lane", s.Kind)
		return nil
	case (v.Above == nil) == (v.Below == nil):
		r.failKey(at, "needs above or below, and not both, as in {above: -15, clear: -17, for: 5m}")
		return nil
	}
	limit, key := sensors.Limit{For: v.For, Below: v.Below != nil}, "above"
	if limit.Below {
		v.Above, key = v.Below, "below"
	}
	limit.At, limit.Clear = *v.Above, *v.Above
	if v.Clear != nil {
		limit.Clear = *v.Clear
	}
	switch {
	case limit.Below && limit.Clear < limit.At, !limit.Below && limit.Clear > limit.At:
		r.failValue(at+".clear", "is on the alarm's side: %s %s is the alarm, so it clears at %s or on the other side",
			key, number(limit.At), number(limit.At))
	case !limit.Below && valid.Max != nil && limit.At >= *valid.Max:
		r.failValue(at+".above", "cannot be: valid.max is %s", number(*valid.Max))
	case limit.Below && valid.Min != nil && limit.At <= *valid.Min:
		r.failValue(at+".below", "cannot be: valid.min is %s", number(*valid.Min))
	}
	return &limit
}

// average checks the number of samples in a reading, and returns the time
// between two samples: every divided by that number.
func (r *reader) average(path string, s stanza, qs []sensors.Quantity, every time.Duration) time.Duration {
	at := path + ".average"
	switch {
	case !r.has(at), r.bad[at], r.bad[path+".every"]:
	case every == 0:
		r.failKey(at, "a %s says by itself when something happens: there is nothing to average", s.Kind)
	case slices.ContainsFunc(qs, func(q sensors.Quantity) bool { return len(q.States) > 0 }):
		r.failKey(at, "a %s has states, which have no mean: leave this out", s.Kind)
	case s.Average < 1:
		r.failValue(at, "must be 1 or more: the samples in a reading")
	case every/time.Duration(s.Average) < time.Millisecond:
		r.failValue(at, "%d samples in %s are more than one in 1ms", s.Average, duration(every))
	default:
		return every / time.Duration(s.Average)
	}
	return every
}

// number formats a number as a person writes it: without an exponent.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// duration formats a duration without the units that are zero at its end: 1h, not
// 1h0m0s.
func duration(d time.Duration) string {
	text := d.String() // 1h0m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
