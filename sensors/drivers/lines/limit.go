package lines

import "time"

// A limit lets so many through a second on average, and as many at once after
// quiet.
type limit struct {
	perSecond float64   // a second, and in the bucket
	left      float64   // in the bucket
	at        time.Time // when that was so
}

// newLimit begins with a full bucket: the lines of a source that has just started go
// through.
func newLimit(most int, now time.Time) limit { return limit{float64(most), float64(most), now} }

// take reports whether one may go through now.
func (l *limit) take(now time.Time) bool {
	// max: a clock that was set back would take from the bucket.
	l.left = min(l.perSecond, l.left+max(0, now.Sub(l.at).Seconds())*l.perSecond)
	l.at = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}

// next is when one may go through.
func (l *limit) next() time.Time {
	return l.at.Add(time.Duration(max(0, 1-l.left) / l.perSecond * float64(time.Second)))
}
