package uplink

import (
	"cmp"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
)

// AutoRate is the Drain.Rate for a pace with which a subscriber can keep up. Mosquitto and
// EMQX queue at most 1,000 messages for a subscriber; they acknowledge and drop further
// ones. So a burst stays well below 1,000, and the rate after it is that of a subscriber
// that needs 4 ms for a message. The rate is at least twice what this node produces, so
// that the backlog shrinks.
const AutoRate = -1

const (
	autoRate  = 250 // readings a second
	autoBurst = 500 // readings

	// liveAge is the age below which a reading is live, not backlog: with AutoRate it is
	// not throttled.
	liveAge = time.Second

	// timerSlack is the burst at a fixed rate, as a time: it makes up for timers that fire
	// late.
	timerSlack = 20 * time.Millisecond
)

// A throttle paces routine readings with a token bucket. It belongs to the link
// and not to a session: a link that breaks every few seconds must not get a
// burst each time.
type throttle struct {
	rate   int       // as in Drain
	tokens float64   // readings that may be sent now
	filled time.Time // when tokens was computed
	next   time.Time // when the next reading may be sent; zero: none waits for it

	produced meter // routine readings of this node
}

func newThrottle(rate int) *throttle {
	t := &throttle{rate: rate}
	t.tokens = t.burst()
	return t
}

func (t *throttle) burst() float64 {
	if t.rate == AutoRate {
		return autoBurst
	}
	return max(1, float64(t.rate)*timerSlack.Seconds())
}

// perSecond is the rate after a burst, in readings per second; 0: there is no limit.
func (t *throttle) perSecond() float64 {
	if t.rate == AutoRate {
		return max(autoRate, 2*t.produced.perSecond(time.Now()))
	}
	return float64(t.rate)
}

// ready reports whether a reading may be sent now. If not, it sets next.
func (t *throttle) ready() bool {
	if t.rate == 0 {
		return true
	}
	now, perSecond := time.Now(), t.perSecond()
	if !t.filled.IsZero() {
		t.tokens = min(t.tokens+perSecond*now.Sub(t.filled).Seconds(), t.burst())
	}
	t.filled = now
	if t.tokens < 1 {
		t.next = now.Add(time.Duration((1-t.tokens)/perSecond*float64(time.Second)) + 1) // rounded up
		return false
	}
	return true
}

// take takes the token of a reading that is sent.
func (t *throttle) take() { t.tokens = max(t.tokens-1, 0) }

// maySend reports whether a routine reading may be sent now. With AutoRate a live reading
// is never throttled.
func (l *Link) maySend(it *queue.Item) bool {
	return l.pace.ready() || l.opt.Drain.Rate == AutoRate && l.live(it)
}

func (l *Link) live(it *queue.Item) bool {
	age, known := l.stampAge(it.At)
	return it.Boot == l.opt.Boot && known && age < liveAge
}

const (
	meterPeriod = 30 * time.Second
	meterStart  = 10 * time.Second // at the start all sensors are read at once: the first rate is over this time at least
)

// A meter measures a rate of events over the current period and the one before. It may be
// used by several goroutines.
type meter struct {
	period time.Duration // 0: meterPeriod

	mu     sync.Mutex // guards the fields below
	from   time.Time  // start of the current period; zero: there was no event yet
	count  int        // events in the current period
	before float64    // events per second in the period before; negative: there was none
}

func (m *meter) add(now time.Time, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.from.IsZero() {
		m.from, m.before = now, -1
	}
	m.rollLocked(now)
	m.count += n
}

// span is the length of a period.
func (m *meter) span() time.Duration { return cmp.Or(m.period, meterPeriod) }

// rollLocked starts a new period if the current one has ended.
func (m *meter) rollLocked(now time.Time) {
	periods := now.Sub(m.from) / m.span()
	if periods < 1 {
		return
	}
	m.before = 0
	if periods == 1 {
		m.before = float64(m.count) / m.span().Seconds()
	}
	m.from, m.count = m.from.Add(periods*m.span()), 0
}

// perSecond returns the rate over the last span. Of the period before it uses the fraction
// that is within that time.
func (m *meter) perSecond(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.from.IsZero() {
		return 0
	}
	m.rollLocked(now)
	elapsed, span := now.Sub(m.from), m.span()
	if m.before < 0 {
		return float64(m.count) / max(elapsed, min(meterStart, span)).Seconds()
	}
	return m.before*(1-elapsed.Seconds()/span.Seconds()) + float64(m.count)/span.Seconds()
}
