package drivers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Deriver is implemented by Options of a sensor without a device: its stream is computed from other
// streams of the node.
type Deriver interface {
	Options
	// Sources returns the streams that the options name. Check must have found nothing wrong.
	Sources() []SourceName
	// Derive gets the sources, in the order of Sources, and returns what is wrong with them. If
	// nothing is wrong, Quantities and Derivation are valid afterwards.
	Derive([]sensors.Stream) []Problem
	Derivation() *sensors.Derivation
}

// A SourceName is the name of a source in the configuration.
type SourceName struct {
	Key    string // where it is written: "difference[0]"
	Stream string
}

// derivedOptions are the options of kind derived. Exactly one formula must be given.
type derivedOptions struct {
	// [flow, return]: the first stream minus the second, of one unit
	Difference []string `yaml:"difference"`
	// [roof, garage]: all of these streams together, of one unit
	Sum []string `yaml:"sum"`
	// {temperature: room_temperature, humidity: room_humidity}: of streams in °C and %
	DewPoint *airKeys `yaml:"dew_point"`
	// the same keys: the water in the air, in g/m³
	AbsoluteHumidity *airKeys `yaml:"absolute_humidity"`
	// {of: meter, per: hour}: how fast a stream grows, per second, minute or hour
	Rate *rateKeys `yaml:"rate"`

	// Set by Derive.
	derivation sensors.Derivation
	quantity   sensors.Quantity
}

// airKeys name the streams of a hygrometer.
type airKeys struct {
	Temperature string `yaml:"temperature"`
	Humidity    string `yaml:"humidity"`
}

// rateKeys name a stream and a unit of time.
type rateKeys struct {
	Of  string `yaml:"of"`
	Per string `yaml:"per"`
}

// perUnits are the units of time of a rate, each with its symbol.
var perUnits = map[string]struct {
	time time.Duration
	sign string
}{"second": {time.Second, "s"}, "minute": {time.Minute, "min"}, "hour": {time.Hour, "h"}}

func newDerived() Options { return &derivedOptions{} }

// formulas returns the formulas that are given: exactly one if nothing is wrong.
func (o *derivedOptions) formulas() (all []sensors.Formula) {
	for _, f := range []struct {
		sensors.Formula
		written bool
	}{
		{sensors.Difference, o.Difference != nil}, {sensors.Sum, o.Sum != nil}, {sensors.DewPoint, o.DewPoint != nil},
		{sensors.AbsoluteHumidity, o.AbsoluteHumidity != nil}, {sensors.Rate, o.Rate != nil},
	} {
		if f.written {
			all = append(all, f.Formula)
		}
	}
	return all
}

// Check returns what is wrong with the formula. It does not know the sources; Derive checks those.
func (o *derivedOptions) Check() (problems []Problem) {
	if n := len(o.formulas()); n != 1 {
		return []Problem{problem("", "needs one of difference, sum, dew_point, absolute_humidity and rate, and has %d: "+
			"write e.g. difference: [flow, return]", n)}
	}
	if o.Difference != nil && len(o.Difference) != 2 {
		problems = append(problems, problem("difference", "needs two streams, as in [flow, return]"))
	}
	if o.Sum != nil && len(o.Sum) < 2 {
		problems = append(problems, problem("sum", "needs two streams or more, as in [roof, garage]"))
	}
	if o.Rate != nil && perUnits[o.Rate.Per].time == 0 {
		problems = append(problems, problem("rate.per", "%q is not one of second, minute, hour", o.Rate.Per))
	}
	seen := map[string]bool{}
	for _, s := range o.Sources() {
		switch {
		case s.Stream == "":
			problems = append(problems, problem(s.Key, "is missing: name a stream, such as room_temperature"))
		case seen[s.Stream]:
			problems = append(problems, problem(s.Key, "%q is named twice", s.Stream))
		}
		seen[s.Stream] = true
	}
	return problems
}

// Sources returns the sources in the order of the formula.
func (o *derivedOptions) Sources() (all []SourceName) {
	formula := string(o.formulas()[0])
	for i, name := range slices.Concat(o.Difference, o.Sum) {
		all = append(all, SourceName{fmt.Sprintf("%s[%d]", formula, i), name})
	}
	for _, air := range []*airKeys{o.DewPoint, o.AbsoluteHumidity} {
		if air != nil {
			all = append(all, SourceName{formula + ".temperature", air.Temperature},
				SourceName{formula + ".humidity", air.Humidity})
		}
	}
	if o.Rate != nil {
		all = append(all, SourceName{"rate.of", o.Rate.Of})
	}
	return all
}

// Derive checks the units of the sources, and determines the unit of the stream.
func (o *derivedOptions) Derive(of []sensors.Stream) (problems []Problem) {
	names := o.Sources()
	o.derivation = sensors.Derivation{Formula: o.formulas()[0]}
	if o.Rate != nil {
		o.derivation.Per = perUnits[o.Rate.Per].time
	}
	for i, st := range of {
		if len(st.States) > 0 {
			problems = append(problems, problem(names[i].Key, "%q has states (%s) and no number", st.Name,
				strings.Join(st.States, ", ")))
		} else if want, ok := o.unitOf(i, of); ok && st.Unit != want {
			problems = append(problems, problem(names[i].Key, "%q has the unit %q, and %q is needed: %s",
				st.Name, st.Unit, want, o.reason()))
		}
		o.derivation.Sources = append(o.derivation.Sources,
			sensors.Source{Stream: st.Name, Every: st.Every, Total: st.Total})
	}
	if len(problems) == 0 {
		o.quantity = o.quantityOf(of)
		o.quantity.Name = string(o.derivation.Formula)
	}
	return problems
}

// unitOf returns the unit that a source must have; ok is false if it may have any.
func (o *derivedOptions) unitOf(i int, of []sensors.Stream) (unit string, ok bool) {
	switch o.derivation.Formula {
	case sensors.Rate:
		return "", false
	case sensors.DewPoint, sensors.AbsoluteHumidity:
		return []string{"°C", "%"}[i], true
	}
	return of[0].Unit, true
}

// reason says why a source must have a unit.
func (o *derivedOptions) reason() string {
	if f := o.derivation.Formula; f == sensors.DewPoint || f == sensors.AbsoluteHumidity {
		return "it is computed from °C and % of relative humidity"
	}
	return "all have to have that of the first"
}

// quantityOf returns the unit and the class of the result.
func (o *derivedOptions) quantityOf(of []sensors.Stream) sensors.Quantity {
	first := of[0].Quantity
	switch o.derivation.Formula {
	case sensors.DewPoint:
		return sensors.Quantity{Unit: "°C", Class: "temperature"}
	case sensors.AbsoluteHumidity:
		return sensors.Quantity{Unit: "g/m³", Class: "absolute_humidity"}
	case sensors.Rate:
		return ratePer(first, o.Rate.Per)
	}
	q := sensors.Quantity{Unit: first.Unit, Class: first.Class, Total: o.derivation.Formula == sensors.Sum}
	for _, st := range of {
		if q.Total = q.Total && st.Total; st.Class != first.Class {
			q.Class = "" // different classes, such as water and gas
		}
	}
	if o.derivation.Formula == sensors.Difference && q.Class == "temperature" {
		q.Class = "temperature_delta" // or Home Assistant would show 5 °C as 41 °F
	}
	return q
}

// ratePer returns the quantity of a rate, with Home Assistant's class if there is one.
func ratePer(q sensors.Quantity, per string) sensors.Quantity {
	hourly := rateOf(q.Class, q.Unit)
	if per == "hour" {
		return hourly
	}
	rate := sensors.Quantity{Unit: cmp.Or(q.Unit, "1") + "/" + perUnits[per].sign}
	if hourly.Class == "volume_flow_rate" {
		rate.Class = hourly.Class
	}
	return rate
}

// Derivation returns how the stream is computed. The caller must not change it.
func (o *derivedOptions) Derivation() *sensors.Derivation { return &o.derivation }

// Pace is 0: there is a value when the sources have new ones.
func (o *derivedOptions) Pace() time.Duration { return 0 }

// Quantities returns nil before Derive.
func (o *derivedOptions) Quantities() []sensors.Quantity {
	if o.quantity.Name == "" {
		return nil
	}
	return []sensors.Quantity{o.quantity}
}

// Open returns an error: package sensors computes the stream.
func (o *derivedOptions) Open(context.Context, *Hardware) (sensors.Sensor, error) {
	return nil, errors.New("has no device: it is computed from other streams")
}
