package uplink

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Status is what a link knows of itself at one moment. Its times are by the
// monotonic clock, too.
type Status struct {
	Connected   bool          // the broker has accepted the connection
	Server      string        // host:port that we are connected to; else the first one
	MQTT        string        // the version of the last connection: 3.1.1 or 5; empty: there was none
	Since       time.Time     // of the connection or of the outage
	LastError   string        // why the last connection or attempt ended; empty: none ended yet
	LastErrorAt time.Time     // zero: none ended yet
	NextTry     time.Time     // of a connection; zero: there is one, or an attempt is under way
	RoundTrip   time.Duration // from the last message acknowledged; 0: there is none in this connection
	Held        string        // why the backlog does not go out although we are connected; empty: it goes out
	Delivered   uint64        // readings and events that were acknowledged since the start
	Skipped     uint64        // readings that came too late for their format and were not sent, since the start
	Rate        float64       // of them per second, over the last seconds
	Produced    float64       // routine readings of this node per second, over half a minute
	NoOrders    string        // why orders do not come; empty: they may, or none are taken
	CertExpires time.Time     // the first of the certificates that the connection depends on; zero: there are none
}

// ratePeriod is short, because a drain may be over in seconds.
const ratePeriod = 5 * time.Second

// A statusBoard holds what [Link.Status] reports. The goroutine of Run writes it,
// and a few numbers with each acknowledgement: that costs a lock that is free.
type statusBoard struct {
	rate meter        // has a mutex of its own
	trip atomic.Int64 // of the last message acknowledged, in ns; Status.RoundTrip

	mu  sync.Mutex
	now Status // but for RoundTrip
}

// connected notes that a connection was accepted.
func (b *statusBoard) connected(c Conn, start time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.Connected, b.now.Since, b.now.NextTry, b.now.Held = true, start, time.Time{}, ""
	b.trip.Store(0)
	b.now.Server, b.now.MQTT = c.Server(), c.Facts().Version.String()
	b.now.CertExpires = time.Time{}
	for _, cert := range c.Certificates() {
		b.now.CertExpires = earliest(b.now.CertExpires, cert.NotAfter)
	}
}

// disconnected notes that a connection ended, or that an attempt failed.
func (b *statusBoard) disconnected(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.now.Connected {
		b.now.Connected, b.now.Since, b.now.Held = false, now, ""
		b.trip.Store(0)
	}
	b.now.LastError, b.now.LastErrorAt = err.Error(), now
}

// retries notes when the next attempt is; zero: now.
func (b *statusBoard) retries(at time.Time) {
	b.mu.Lock()
	b.now.NextTry = at
	b.mu.Unlock()
}

// holds notes why the backlog is held; empty: it is not.
func (b *statusBoard) holds(why string) {
	b.mu.Lock()
	b.now.Held = why
	b.mu.Unlock()
}

// refusesOrders notes why orders do not come; empty: they do.
func (b *statusBoard) refusesOrders(why string) {
	b.mu.Lock()
	b.now.NoOrders = why
	b.mu.Unlock()
}

// acked notes how long a message took until it was acknowledged.
func (b *statusBoard) acked(trip time.Duration) { b.trip.Store(int64(trip)) }

// delivered notes that readings and events left the backlog: n were sent, and skipped
// were not.
func (b *statusBoard) delivered(n, skipped int) {
	b.rate.add(time.Now(), n)
	b.mu.Lock()
	b.now.Delivered += uint64(n)
	b.now.Skipped += uint64(skipped)
	b.mu.Unlock()
}

// Status returns what the link knows of itself. It may be called from any goroutine.
func (l *Link) Status() Status {
	l.board.mu.Lock()
	s := l.board.now
	l.board.mu.Unlock()
	s.RoundTrip = time.Duration(l.board.trip.Load())
	if s.Server == "" && len(l.opt.Servers) > 0 {
		s.Server = l.opt.Servers[0].Host
	}
	now := time.Now()
	s.Rate, s.Produced = l.board.rate.perSecond(now), l.pace.produced.perSecond(now)
	return s
}

// States returns the latest reading of each stream that has one, in the order of
// their first ones. It may be called from any goroutine.
func (l *Link) States() []sensors.Reading { return l.states.all() }
