package config

import (
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// pick returns the filter keys of one quantity and their path: keys under the quantity's
// name override those for all quantities. ok is false if there are none, or if the decoder
// has rejected them.
func pick[T any](r *reader, written map[string]T, path, quantity string) (one T, at string, ok bool) {
	// The empty name stands for all quantities: see byQuantity.
	at = join(path, quantity)
	if one, ok = written[quantity]; !ok {
		at = path
		one, ok = written[""]
	}
	return one, at, ok && !r.badWithin[at]
}

// filterOf builds the filter of one quantity. Every check reports its errors to the reader
// and continues, so that all errors of a file are reported at once; after an error the
// filter has no meaning.
func (f *filterReader) filterOf(q sensors.Quantity, every time.Duration) sensors.Filter {
	valid := f.validOf(q)
	return sensors.Filter{
		Correction: f.correctionOf(q),
		Valid:      valid,
		Average:    max(f.stanza.Average, 0),
		Median:     max(f.stanza.Median, 0),
		Alarm:      f.limitOf(q, valid),
		Report:     f.reportOf(q, every),
		Precision:  f.precisionOf(q),
	}
}

// validOf checks the range of valid values. A quantity with states has none: each of its
// states is valid.
func (f *filterReader) validOf(q sensors.Quantity) sensors.Valid {
	// One of the bounds may be missing; jump needs neither.
	v, at, ok := pick(f.reader, f.valid, f.path+".valid", q.Name)
	switch {
	case !ok:
		return sensors.Valid{}
	case len(q.States) > 0:
		f.failKey(at, "a %s has states, all of which are valid: leave this out", f.stanza.Kind)
	case !f.has(at+".min") && !f.has(at+".max") && !f.has(at+".jump"):
		f.failKey(at, "needs min, max or jump, as in {min: -60, max: 60}")
	case v.Min != nil && v.Max != nil && *v.Min >= *v.Max:
		f.failValue(at+".max", "must be more than min, which is %s", number(*v.Min))
	case f.has(at+".jump") && v.Jump <= 0:
		f.failValue(at+".jump", "must be more than 0")
	}
	return sensors.Valid{Min: v.Min, Max: v.Max, Jump: v.Jump}
}

// reportOf checks when a value is reported. An at_least that is not longer than the pace
// would report every reading, so it is an error.
func (f *filterReader) reportOf(q sensors.Quantity, every time.Duration) sensors.Report {
	// A change of state is always reported, so the key would have no effect.
	v, at, ok := pick(f.reader, f.report, f.path+".report", q.Name)
	states := len(q.States) > 0 // names of values, such as open and closed
	switch {
	case !ok:
		return sensors.Report{}
	case !f.has(at+".change") && !f.has(at+".at_least"):
		f.failKey(at, "needs change, at_least or both, as in {change: 0.3, at_least: 10m}")
	case states && f.has(at+".change"):
		f.failKey(at+".change", "each change of a state is reported: leave this out")
	case f.has(at+".change") && v.Change <= 0:
		f.failValue(at+".change", "must be more than 0")
	case f.has(at+".at_least") && (v.AtLeast < time.Second || v.AtLeast > sensors.MaxEvery):
		f.failValue(at+".at_least", "must be between 1s and 7d")
	case f.has(at+".at_least") && v.AtLeast <= every:
		f.failValue(at+".at_least", "must be longer than the %s between two readings: all would be reported",
			clock.FormatDuration(every))
	}
	return sensors.Report(v)
}

// limitOf checks the threshold of an alarm. Without clear the alarm ends at the threshold.
// A threshold outside of the valid range could never be reached.
func (f *filterReader) limitOf(q sensors.Quantity, valid sensors.Valid) *sensors.Limit {
	// Return early if there is no usable threshold; the rest is checked below.
	v, at, ok := pick(f.reader, f.limit, f.path+".alarm", q.Name)
	switch {
	case !ok:
		return nil
	case len(q.States) > 0:
		f.failKey(at, "a %s has states and no threshold: alarm: true puts every one of them in the alarm lane",
			f.stanza.Kind)
		return nil
	case (v.Above == nil) == (v.Below == nil):
		f.failKey(at, "needs above or below, and not both, as in {above: -15, clear: -17, for: 5m}")
		return nil
	}
	// The limit is complete now; its errors are reported below.
	limit, key := sensors.Limit{For: v.For, Below: v.Below != nil}, "above"
	if limit.Below { // the same as above, with both signs reversed
		v.Above, key = v.Below, "below"
	}
	limit.At, limit.Clear = *v.Above, *v.Above // without clear there is no hysteresis
	if v.Clear != nil {
		limit.Clear = *v.Clear
	}
	between(f.reader, at+".for", limit.For, 0, 24*time.Hour, "at most 24h")
	switch {
	case limit.Below && limit.Clear < limit.At, !limit.Below && limit.Clear > limit.At:
		f.failValue(at+".clear", "is on the alarm's side: %s %s is the alarm, so it clears at %s or on the other side",
			key, number(limit.At), number(limit.At))
	case !limit.Below && valid.Max != nil && limit.At >= *valid.Max:
		f.failValue(at+".above", "cannot be reached: valid.max is %s", number(*valid.Max))
	case limit.Below && valid.Min != nil && limit.At <= *valid.Min:
		f.failValue(at+".below", "cannot be reached: valid.min is %s", number(*valid.Min))
	}
	return &limit
}

// samplePace checks the number of samples per reading, and returns the time between two
// samples: every divided by that number.
func (f *filterReader) samplePace(qs []sensors.Quantity, every time.Duration) time.Duration {
	if at := f.path + ".median"; f.has(at) {
		if f.has(f.path + ".average") {
			f.failKey(at, "a reading is the median of its samples or their average: leave one of the two out")
			return every
		}
		return f.paceOf("median", "median", f.stanza.Median, qs, every)
	}
	return f.paceOf("average", "mean", f.stanza.Average, qs, every)
}

// paceOf is samplePace for one of the two keys with a number of samples; word describes
// what is made of them.
func (f *filterReader) paceOf(
	key, word string, samples int, qs []sensors.Quantity, every time.Duration,
) time.Duration {
	// The key needs numbers at regular intervals: no states, and no sensor that waits for
	// events.
	at := f.path + "." + key
	switch {
	case !f.has(at), f.bad[at], f.bad[f.path+".every"]:
	case every == 0:
		f.failKey(at, "a %s reports by itself when something happens: there is no %s to make", f.stanza.Kind, word)
	case slices.ContainsFunc(qs, func(q sensors.Quantity) bool { return len(q.States) > 0 }):
		f.failKey(at, "a %s has states, which have no %s: leave this out", f.stanza.Kind, word)
	case samples < 1:
		f.failValue(at, "must be 1 or more: the samples in a reading")
	case every/time.Duration(samples) < time.Millisecond:
		f.failValue(at, "%d samples in %s are more than one in 1ms", samples, clock.FormatDuration(every))
	default:
		return every / time.Duration(samples)
	}
	return every
}

// number formats a number without an exponent.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
