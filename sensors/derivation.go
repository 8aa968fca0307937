package sensors

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
)

// A Formula says how one stream is computed from others. The formulas are fixed, without
// free expressions: a person who reads a value on a dashboard should know what it means.
type Formula string

const (
	Difference       Formula = "difference"        // the first source minus the second
	Sum              Formula = "sum"               // of at least two sources
	DewPoint         Formula = "dew_point"         // in °C, of a temperature in °C and a relative humidity in %
	AbsoluteHumidity Formula = "absolute_humidity" // in g/m³, of the same two sources
	Rate             Formula = "rate"              // the growth of one source in the time Per
)

// A Derivation says how the only stream of a sensor is computed from others.
type Derivation struct {
	Formula Formula
	Sources []Source      // in the order that the formula needs; no stream twice
	Per     time.Duration // the unit of time of a rate
}

// A Source is a stream of numbers that another one is derived from.
type Source struct {
	Stream string
	Every  time.Duration // between its values; 0: they come with events and are never too old
	Total  bool          // a meter: a value less than the one before means that it was reset
}

// Magnus' formula for the vapour pressure over water, with the constants of Sonntag (1990)
// and the range that the WMO's guide to instruments gives for them (WMO-No. 8, annex 4.B):
// e = 611.2 Pa * exp(17.62 t / (243.12 °C + t)).
const (
	magnusFactor   = 17.62
	magnusOffset   = 243.12 // °C
	magnusPressure = 611.2  // Pa, at 0 °C
	magnusMin      = -45    // °C
	magnusMax      = 60     // °C
)

const (
	vapourConstant = 461.5  // J/(kg K), the gas constant of water vapour
	absoluteZero   = 273.15 // K at 0 °C
)

// Compute applies the formula to one value of each source, in the order of Sources. It must
// not be called for a rate, which needs two values. It returns an error if there is no
// result for these values.
func (d Derivation) Compute(values []float64) (float64, error) {
	switch d.Formula {
	case Difference:
		return exactSum(values[0], -values[1])
	case Sum:
		return exactSum(values...)
	}
	temperature, humidity := values[0], values[1]
	if temperature < magnusMin || temperature > magnusMax {
		return 0, fmt.Errorf("%s is %v °C: it can be computed from %d to %d °C",
			d.Sources[0].Stream, temperature, magnusMin, magnusMax)
	}
	if humidity < 0 || humidity == 0 && d.Formula == DewPoint {
		return 0, fmt.Errorf("%s is %v %%: there is no %s", d.Sources[1].Stream, humidity, d.Formula)
	}
	if d.Formula == DewPoint {
		return dewPoint(temperature, humidity), nil
	}
	return absoluteHumidity(temperature, humidity), nil
}

// exactSum adds values as exact decimal fractions, so that 20.3 - 20.2 is 0.1.
func exactSum(values ...float64) (float64, error) {
	sum := new(big.Rat)
	for _, v := range values {
		sum.Add(sum, decimal(v))
	}
	got, _ := sum.Float64()
	if math.IsInf(got, 0) {
		return 0, fmt.Errorf("the sum of %v is too large", values)
	}
	return got, nil
}

// dewPoint returns the temperature in °C at which the vapour in the air would condense. Two
// decimal places are enough: no hygrometer is more exact.
func dewPoint(temperature, humidity float64) float64 {
	gamma := math.Log(humidity/100) + magnusFactor*temperature/(magnusOffset+temperature)
	return round(magnusOffset*gamma/(magnusFactor-gamma), 2)
}

// absoluteHumidity returns the mass of the water vapour in the air in g/m³, with two decimal
// places. It treats the vapour as an ideal gas.
func absoluteHumidity(temperature, humidity float64) float64 {
	saturated := magnusPressure * math.Exp(magnusFactor*temperature/(magnusOffset+temperature))
	const gramsPerKilogram = 1000
	return round(gramsPerKilogram*saturated*humidity/100/(vapourConstant*(absoluteZero+temperature)), 2)
}

// staleAfter is how many of its intervals a source may send no value before it counts as
// failed: one slow measurement, or a sensor that is opened again, is no failure.
const staleAfter = 3

// minSpan is the minimum time between two values of a rate. Stamps have a resolution of
// 1 ms, so the error of the rate stays near 1 %.
const minSpan = 100 * time.Millisecond

// A growth remembers the last value of a source, for its rate.
type growth struct {
	known bool
	value float64
	at    time.Time
}

// rate returns the growth of a source in the time d.Per, with six significant digits. ok is
// false for the first value, after a meter was reset, and if the time since the last value
// is shorter than minSpan or so long that the rate would not be a current one.
func (g *growth) rate(d *Derivation, v float64, at time.Time) (rate float64, ok bool) {
	last, span := *g, at.Sub(g.at)
	if last.known && span < minSpan {
		return 0, false // the last value is kept: the span to the next value is longer
	}
	*g = growth{true, v, at}
	source := d.Sources[0]
	if !last.known || source.Every > 0 && span > staleAfter*source.Every || source.Total && v < last.value {
		return 0, false
	}
	rate = (v - last.value) * float64(d.Per) / float64(span)
	rate, _ = strconv.ParseFloat(strconv.FormatFloat(rate, 'g', 6, 64), 64) // cannot fail: formatted here
	return rate, true
}
