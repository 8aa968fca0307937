package uplink

import (
	"cmp"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
)

// AutoRate is the pace of a backlog that a subscriber at the usual brokers can
// follow. Mosquitto and EMQX acknowledge what they queue for a subscriber, at
// most 1,000 messages, and drop what comes beyond that. So a burst stays well
// below 1,000, and after it goes what a subscriber with 4 ms for a message can
// take. It is never less than twice what this node produces, or the backlog
// would never end.
const AutoRate = -1

const (
	autoRate  = 250 // readings a second
	autoBurst = 500 // readings

	// liveAge is the age below which a reading is not part of a backlog: under
	// AutoRate it does not wait.
	liveAge = time.Second

	// late is how much of a delay is made up for at a fixed rate: timers are not
	// exact.
	late = 20 * time.Millisecond
)

// A throttle paces routine readings with a token bucket. It belongs to the link
// and not to a session: a link that breaks every few seconds must not get a
// burst each time.
type throttle struct {
	rate   int       // as in Drain
	tokens float64   // readings that may go now
	filled time.Time // when tokens was computed
	next   time.Time // when the next reading may go; zero: none waits for it

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
	return max(1, float64(t.rate)*late.Seconds())
}

// perSecond is the pace after a burst; 0: there is none.
func (t *throttle) perSecond() float64 {
	if t.rate == AutoRate {
		return max(autoRate, 2*t.produced.perSecond(time.Now()))
	}
	return float64(t.rate)
}

// ready reports whether a reading may go now.
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

// pass notes that a reading goes.
func (t *throttle) pass() { t.tokens = max(t.tokens-1, 0) }

// mayGo reports whether the pace lets a routine reading go now. With AutoRate,
// what was measured just now is no backlog and does not wait.
func (l *Link) mayGo(it *queue.Item) bool {
	return l.pace.ready() || l.opt.Drain.Rate == AutoRate && l.live(it)
}

func (l *Link) live(it *queue.Item) bool {
	age, known := l.stampAge(it.At)
	return it.Boot == l.opt.Boot && known && age < liveAge
}

const (
	meterPeriod = 30 * time.Second
	meterStart  = 10 * time.Second // the first reading of every sensor comes at once
)

// A meter counts events per second, over its period and the one before.
type meter struct {
	period time.Duration // 0: meterPeriod

	mu     sync.Mutex
	from   time.Time // start of the period; zero: there was no event
	count  int       // in the period
	before float64   // events a second in the period before; negative: there was none
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

// span is how long a period is.
func (m *meter) span() time.Duration { return cmp.Or(m.period, meterPeriod) }

// rollLocked starts the period that now is in.
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

// perSecond weighs the period before by how much of it lies in the last span.
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
