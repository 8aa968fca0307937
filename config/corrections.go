package config

import (
	"fmt"
	"sort"

	"github.com/holdfast-iot/holdfast/sensors"
)

// maxPrecision is the maximum of decimal places: no sensor has more.
const maxPrecision = 9

// correctionOf checks the correction of measured values: scale and offset, or the points of
// a calibration.
func (f *filterReader) correctionOf(q sensors.Quantity) sensors.Correction {
	scale, atScale, scaled := pick(f.reader, f.scale, f.path+".scale", q.Name)
	offset, atOffset, shifted := pick(f.reader, f.offset, f.path+".offset", q.Name)
	points, at, calibrated := pick(f.reader, f.calibrate, f.path+".calibrate", q.Name)
	switch {
	case scaled && f.noNumber(q, atScale), shifted && f.noNumber(q, atOffset), calibrated && f.noNumber(q, at):
	case calibrated && (scaled || shifted || f.correctsItself()):
		f.failKey(at, "holds all that scale and offset could say: leave those out, or this")
	case scaled && scale == 0:
		f.failValue(atScale, "must not be 0: every value would be the same")
	case scaled && scale < 0 && q.Total:
		f.failValue(atScale, "must be more than 0: %s is a meter, which only grows", q.Name)
	case calibrated:
		return sensors.Correction{Points: f.points(q, at, points)}
	}
	return sensors.Correction{Scale: scale, Offset: offset}
}

// correctsItself reports whether scale or offset is written and is an option of the kind.
func (f *filterReader) correctsItself() bool {
	return f.scale == nil && f.stanza.Scale != nil || f.offset == nil && f.stanza.Offset != nil
}

// noNumber reports that a quantity has states, which cannot be corrected.
func (f *filterReader) noNumber(q sensors.Quantity, at string) bool {
	if len(q.States) == 0 {
		return false
	}
	f.failKey(at, "a %s has states and no number: leave this out", f.stanza.Kind)
	return true
}

// points checks a calibration and returns it sorted by the measured value. The true values
// must always rise or always fall: otherwise there is a typing error, and two values could
// not be distinguished.
func (f *filterReader) points(q sensors.Quantity, at string, written []pointKeys) (points []sensors.Point) {
	for i, p := range written {
		if p.Reads == nil || p.Is == nil {
			f.failKey(fmt.Sprintf("%s[%d]", at, i), "needs reads and is, as in {reads: 0.5, is: 0}")
			return nil
		}
		points = append(points, sensors.Point{Reads: *p.Reads, Is: *p.Is})
	}
	if len(points) < 2 {
		f.failKey(at, "needs two points or more, as in [{reads: 0.5, is: 0}, {reads: 99.1, is: 100}]; "+
			"offset is for one")
		return nil
	}
	sort.Slice(points, func(i, j int) bool { return points[i].Reads < points[j].Reads })
	rises := points[0].Is < points[len(points)-1].Is
	for i, p := range points[1:] {
		switch last := points[i]; {
		case p.Reads == last.Reads:
			f.failKey(at, "has two points that read %s", number(p.Reads))
		case p.Is == last.Is:
			f.failKey(at, "has two points that are %s: what is read between them could not be told apart", number(p.Is))
		case p.Is > last.Is != rises:
			f.failKey(at, "turns back between reads: %s and reads: %s: the values have to rise or fall all the way",
				number(last.Reads), number(p.Reads))
		case q.Total && !rises:
			f.failKey(at, "falls: %s is a meter, which only grows", q.Name)
		default:
			continue
		}
		return nil
	}
	return points
}

// precisionOf checks the decimal places of published values; nil means as many as the value
// has.
func (f *filterReader) precisionOf(q sensors.Quantity) *int {
	places, at, ok := pick(f.reader, f.precision, f.path+".precision", q.Name)
	switch {
	case !ok || f.noNumber(q, at):
		return nil
	case places < 0 || places > maxPrecision:
		f.failValue(at, "must be between 0 and %d: the digits behind the point", maxPrecision)
	}
	return &places
}
