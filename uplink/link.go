// Package uplink publishes readings by MQTT.
//
// A [Link] has one session with the broker at a time, and starts the next one when
// it ends. A session publishes two things: the state, which is the latest reading of
// each stream, retained, and published again at the start of each session; and the
// history, which is every reading, read from a backlog and acknowledged there only
// when the broker has acknowledged it.
//
// Package mqtt speaks the protocol, package homeassistant knows its discovery, and
// package payload what topics and messages look like.
//
// # Concurrency
//
// [Link.Run] may be called once; [Link.Observe] at any time from any goroutine,
// and it never waits for the network. The goroutine of Run owns everything else:
// it connects, and during a session it alone sends, receives and acknowledges, so the
// parts of a session need no locks. In addition, as long as Run or a session lasts,
// there are a goroutine that finds streams without readings, one that watches the
// expiry of certificates, and one that closes a connection that outlives the
// context. Run waits for all of them. A [Conn] and a [Backlog] have goroutines of
// their own, and communicate with the session through channels.
package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A Backlog holds the items that the link has to deliver; a [queue.Queue] is one.
type Backlog interface {
	// Peek returns at most max items after the cursor, oldest first, alarms before
	// routine readings. It does not wait for new ones.
	Peek(c *queue.Cursor, max int) ([]queue.Item, error)
	// Arrived returns a channel that holds a token when Peek may return more.
	Arrived() <-chan struct{}
	// Ack removes items that the broker has acknowledged, and all older ones of
	// their lanes.
	Ack([]queue.Item) error
	// Reject moves an item that the broker refuses out of its lane and keeps it apart. All
	// older items of the lane must be acknowledged. With declare, the item is reported as
	// missing.
	Reject(it queue.Item, declare bool) error
	// Rejected returns the oldest items, at most max, that Reject has kept and that the
	// cursor has not passed. Ack removes them.
	Rejected(c *queue.Cursor, max int) ([]queue.Item, error)
}

// A Link is the way from the agent to the broker. Observe may be called at any
// time from any goroutine; everything else happens in the goroutine of Run.
type Link struct {
	// Set by New, and not changed.
	opt     Options
	backlog Backlog
	dial    Dial
	log     *slog.Logger
	topics  payload.Topics
	network chan struct{} // a token: our network may be back; from watchNetwork to a session or pause

	states states        // has a mutex of its own
	pace   *throttle     // its meter has a mutex of its own
	orders *orders       // its methods may be called from any goroutine
	certs  mqtt.Expiries // a goroutine beside the session has it while one lasts
	board  statusBoard   // has a mutex of its own

	// State that outlives a session, and the cached uptime. Only the goroutine of Run, in
	// which sessions run, uses it.
	uptime    time.Duration // cached until the session wakes up again; 0: not read yet
	canary    canaryMemory
	proofs    proofs
	suspects  suspects
	rejects   rejects
	unheard   unheard // has a mutex for Unheard
	notices   noticeMemory
	announced announceMemory
	journal   linkLog
	skips     skips
}

// New returns a link that drains backlog; Run starts it.
func New(opt Options, backlog Backlog, dial Dial, log *slog.Logger) *Link {
	if opt.Clock == nil {
		opt.Clock = clock.NewTimekeeper(clock.TrustAuto)
	}
	if opt.Progress == nil {
		opt.Progress = func(time.Duration) {}
	}
	if opt.Changed == nil {
		opt.Changed = func() {}
	}
	l := &Link{opt: opt, backlog: backlog, dial: dial, log: log, topics: opt.topicNames(),
		pace:   newThrottle(opt.Drain.Rate),
		canary: canaryMemory{unreadable: map[string]bool{}}, proofs: newProofs(), suspects: suspects{},
		rejects: newRejects(),
		notices: newNoticeMemory(), journal: linkLog{log: log, logged: map[string]bool{}}}
	l.states.changed, l.network = make(chan struct{}, 1), make(chan struct{}, 1)
	l.board.now.Since, l.board.rate.period = time.Now(), ratePeriod
	l.orders = newOrders(l)
	return l
}

// Observe records a reading as the current state of its stream. It does not wait for the
// network, and may be called from any goroutine.
func (l *Link) Observe(r sensors.Reading) {
	if r.Priority != sensors.Alarm {
		l.pace.produced.add(time.Now(), 1)
	}
	l.states.observe(r)
}

// will returns the message that the broker publishes when a connection is lost.
func (l *Link) will() mqtt.Message { return l.status("offline") }

// status returns the message on agent/status with the word "online" or "offline".
func (l *Link) status(word string) mqtt.Message {
	return mqtt.Message{Topic: l.topics.Agent("status"), Payload: []byte(word), Retain: !l.opt.NoRetain}
}

// state returns the retained message with the latest reading of a stream. It is never
// marked as historical.
func (l *Link) state(r sensors.Reading) mqtt.Message {
	m := mqtt.Message{Topic: l.topics.State(r.Stream), Retain: true, Properties: stateProperties}
	if l.opt.Formats.Of(r.Stream).IsPlain() {
		m.Payload = payload.AppendPlain(nil, &r)
		return m
	}
	r.At = l.opt.Clock.Resolve(r.At)
	m.Payload = payload.AppendReading(nil, r, l.opt.Boot, false)
	return m
}

const (
	// busyLimit is for the work of Run between two waits; a publication may block for 10 s.
	busyLimit = time.Minute
	dialLimit = 2 * time.Minute // for the attempts at one server: each step has a bound of at most 15 s
)

// historicalAge is the age beyond which a reading is history when it is sent.
const historicalAge = 10 * time.Second

// historical reports whether an item that is sent now is marked as historical: it is older
// than historicalAge, or an earlier start of the agent measured it.
func (l *Link) historical(it *queue.Item) bool {
	age, known := l.stampAge(it.At)
	return it.Boot != l.opt.Boot || !known || age > historicalAge
}

// stampAge returns the age of a time stamp of this boot of the kernel; known is false for a
// stamp of another boot. The uptime is read once each time that the session wakes up: the
// system call costs as much CPU time as the rest of the work for a reading.
func (l *Link) stampAge(at clock.Stamp) (age time.Duration, known bool) {
	if l.uptime == 0 {
		l.uptime = l.opt.Clock.Uptime()
	}
	return l.opt.Clock.AgeAt(l.uptime, at)
}

// Run connects and publishes until ctx is done, then publishes "offline" and
// disconnects. It returns the error of ctx, and may be called once.
func (l *Link) Run(ctx context.Context) error {
	var background sync.WaitGroup
	background.Go(func() { l.states.watchSilence(ctx, l.opt.Streams, l.opt.Clock) })
	background.Go(func() { l.watchNetwork(ctx) })
	defer background.Wait()
	ordersCtx, stopOrders := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { l.orders.run(ordersCtx) })
	defer stopOrders() // after the last connection has ended

	l.loadHeld()
	retry := newBackoff(l.opt.ClientID, l.opt.Within)
	for ctx.Err() == nil {
		up, expected, err := l.connect(ctx)
		l.board.disconnected(err)
		l.opt.Changed()
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errPreferred) {
			l.log.Info("uplink goes back to the server that is preferred")
			continue
		}
		if errors.Is(err, errNetworkBack) {
			l.log.Info("uplink reconnects: the network was down")
			continue
		}
		// An expected end needs no back-off: at most three for each of a few notices.
		wait, alone := rand.N(paceLink.first), false
		if !expected {
			wait, alone = retry.after(time.Now(), err, up)
		}
		if limit := l.opt.MaxRetry; limit > 0 {
			wait = min(wait, limit)
		}
		l.journal.down(err, up, wait)
		l.board.retries(time.Now().Add(wait))
		l.opt.Progress(wait + busyLimit)
		l.pause(ctx, wait, alone)
		l.board.retries(time.Time{})
	}
	l.skips.report(l)
	l.opt.Progress(0)
	return ctx.Err()
}

// watchNetwork puts a token into network each time that the network may be back, until ctx
// is done.
func (l *Link) watchNetwork(ctx context.Context) {
	if l.opt.AwaitNetwork == nil {
		return
	}
	if err := l.opt.AwaitNetwork(ctx, l.network); err != nil && ctx.Err() == nil {
		l.log.Warn("the kernel does not report when the network is back: attempts follow the back-off", "err", err)
	}
}

// pause waits for a duration, or until ctx is done. alone says that no other agents retry at
// the same time, so that an early attempt cannot add to a burst of them: then the wait
// also ends when the network may be back.
func (l *Link) pause(ctx context.Context, wait time.Duration, alone bool) {
	back := l.network
	if !alone {
		back = nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-back:
		// A link comes back in several steps; the last one is the route.
		clock.Sleep(ctx, min(wait, networkSettles))
	case <-ctx.Done():
	}
}

// networkSettles is the time from the first announcement that a network is back to
// the next attempt.
const networkSettles = 50 * time.Millisecond

// report passes an event to Options.Report. The details must be values that marshal to JSON.
func (l *Link) report(event string, details map[string]any) {
	if l.opt.Report == nil {
		return
	}
	text, err := json.Marshal(details)
	if err != nil {
		panic("uplink: event: " + err.Error()) // strings, numbers and booleans always marshal
	}
	l.opt.Report(sensors.Event{Name: event, At: l.opt.Clock.Now(), Details: text})
}

// connect runs one session from CONNECT to its end. up is the time since the first
// acknowledgement of the session; 0: there was none. expected says that the end of the
// session was likely, because a suspect was in flight alone.
func (l *Link) connect(ctx context.Context) (up time.Duration, expected bool, err error) {
	l.opt.Progress(dialLimit * time.Duration(1+len(l.opt.Servers)))
	conn, err := l.dial(ctx, l.will())
	if err != nil {
		l.announced.rival.forget()
		return 0, false, err
	}
	l.board.connected(conn, time.Now())
	l.journal.connected(conn.Server(), conn.Facts())
	l.opt.Changed()
	watching, seen := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { l.certs.Watch(watching, conn.Certificates(), l.opt.Clock, l.log) })
	l.orders.begin(ctx, conn)
	s := newSession(l, conn)
	over := dropLate(ctx, conn)
	err = s.run(ctx)
	over()
	expected = s.onDisconnect(err)
	seen()
	watch.Wait()
	if s.out.firstAck.IsZero() && (errors.Is(err, mqtt.ErrBrokerClosed) || mqtt.IsReset(err)) {
		err = fmt.Errorf("%w before it acknowledged anything: its access list may deny %s/#%s", err, l.opt.ClientID,
			l.opt.mayBeRefused())
	}
	if errors.Is(err, errNetworkBack) {
		conn.Abandon()
	} else {
		conn.Close() // its error would add nothing to err
	}
	s.canary.ended()
	if !s.out.firstAck.IsZero() {
		up = time.Since(s.out.firstAck)
	}
	if l.announced.rival.proven {
		err = fmt.Errorf("%w: %w", &RivalError{l.opt.ClientID}, err)
	}
	return up, expected, err
}

// mayBeRefused returns, for an error text, what else in our first messages may make a broker
// close the connection.
func (o Options) mayBeRefused() string {
	if o.NoRetain {
		return ", or it takes no QoS 1"
	}
	return ", or it takes no QoS 1, or nothing that is retained (see mqtt.retain)"
}

// dropLate closes conn if the session has not ended shutdownLimit after ctx is done: a
// broker that stops reading can block Publish for as long as it keeps the connection open.
// The caller calls over when the session has ended; over waits for the goroutine.
func dropLate(ctx context.Context, conn Conn) (over func()) {
	done, end := context.WithCancel(context.WithoutCancel(ctx))
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-ctx.Done():
			clock.Sleep(done, shutdownLimit)
		case <-done.Done():
		}
		if done.Err() == nil {
			conn.Close()
		}
	})
	return func() {
		end()
		waiting.Wait()
	}
}
