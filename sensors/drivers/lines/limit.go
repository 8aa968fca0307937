package lines

import "time"

// A limit lets so many through a second on average, and as many at once after
// quiet.
type limit struct {
	most float64   // a second, and in the bucket
	left float64   // in the bucket
	at   time.Time // when that was so
}

func newLimit(most int, now time.Time) limit { return limit{float64(most), float64(most), now} }

// take reports whether one may go through now.
func (l *limit) take(now time.Time) bool {
	l.left = min(l.most, l.left+max(0, now.Sub(l.at).Seconds())*l.most)
	l.at = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}

// next is when one may go through.
func (l *limit) next() time.Time {
	return l.at.Add(time.Duration(max(0, 1-l.left) / l.most * float64(time.Second)))
}
