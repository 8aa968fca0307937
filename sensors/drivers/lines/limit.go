package lines

import "time"

// A limit is a token bucket: perSecond lines per second on average, and as many at once after a
// pause.
type limit struct {
	perSecond float64   // tokens per second, and the size of the bucket
	left      float64   // tokens in the bucket
	at        time.Time // when left was computed
}

// newLimit starts with a full bucket, so that the first lines of a source pass.
func newLimit(most int, now time.Time) limit { return limit{float64(most), float64(most), now} }

// take takes a token, and reports whether there was one.
func (l *limit) take(now time.Time) bool {
	// max: a clock that is set back must not take tokens.
	l.left = min(l.perSecond, l.left+max(0, now.Sub(l.at).Seconds())*l.perSecond)
	l.at = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}

// next returns when the next token is available.
func (l *limit) next() time.Time {
	return l.at.Add(time.Duration(max(0, 1-l.left) / l.perSecond * float64(time.Second)))
}
