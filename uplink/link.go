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
// it connects, and in a session it alone sends, hears and acknowledges, so what a
// session is made of has no locks. Beside it run, for as long as Run or a session
// lasts, a goroutine that finds streams without readings, one that watches the
// expiry of certificates, and one that closes a connection that outlives the
// context. Run waits for all of them. A [Conn] and a [Backlog] bring goroutines of
// their own, and speak to the session by channels.
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

// A Backlog is what the link drains; a [queue.Queue] is one.
type Backlog interface {
	// Peek returns the oldest items that the cursor has not passed, alarms
	// first; none if there are none.
	Peek(c *queue.Cursor, max int) ([]queue.Item, error)
	// Arrived holds a token when there may be more.
	Arrived() <-chan struct{}
	// Ack removes items that the broker has acknowledged, and all older ones of
	// their lanes.
	Ack([]queue.Item) error
	// Reject keeps an item that the broker refuses, and takes it out of the
	// way: all before it in its lane have to be acknowledged. With declare, the
	// loss is declared.
	Reject(it queue.Item, declare bool) error
	// Rejected returns the oldest items that are set aside and that the cursor has
	// not passed. Ack removes them.
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

	// What outlives a session, and the uptime. It belongs to the goroutine of the
	// session, or to that of Run between two of them.
	uptime    time.Duration // in this turn of the session; 0: not asked for yet
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

// Observe takes note of a reading as the state of its stream. It never waits.
func (l *Link) Observe(r sensors.Reading) {
	if r.Priority != sensors.Alarm {
		l.pace.produced.add(time.Now(), 1)
	}
	l.states.observe(r)
}

// will is what the broker publishes when a connection is lost.
func (l *Link) will() mqtt.Message { return l.status("offline") }

// status is the message that says "online" or "offline".
func (l *Link) status(word string) mqtt.Message {
	return mqtt.Message{Topic: l.topics.Agent("status"), Payload: []byte(word), Retain: !l.opt.NoRetain}
}

// state is the retained message with the latest reading of a stream. It is never
// historical.
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
	// for what the goroutine of Run does between two waits; a publication may block for 10 s
	busyLimit = time.Minute
	dialLimit = 2 * time.Minute // for the attempts at one server: each step has a bound of at most 15 s
)

// historicalAge is the age beyond which a reading is history when it is sent.
const historicalAge = 10 * time.Second

// historical says whether a copy that is sent now is history: it was measured
// long ago, or by an earlier start of the agent.
func (l *Link) historical(it *queue.Item) bool {
	age, known := l.stampAge(it.At)
	return it.Boot != l.opt.Boot || !known || age > historicalAge
}

// stampAge is how long ago a moment of this boot of the kernel was, at about this time:
// the uptime is asked for once in a turn of the session. It is a system call, which
// costs as much as all else that is done for a reading.
func (l *Link) stampAge(at clock.Stamp) (age time.Duration, known bool) {
	if l.uptime == 0 {
		l.uptime = l.opt.Clock.Uptime()
	}
	return l.opt.Clock.AgeAt(l.uptime, at)
}

// Run connects and publishes until ctx is done, then publishes "offline" and
// disconnects. It returns the error of ctx, and may be called once.
func (l *Link) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	beside.Go(func() { l.states.watchSilence(ctx, l.opt.Streams, l.opt.Clock) })
	beside.Go(func() { l.watchNetwork(ctx) })
	defer beside.Wait()
	taking, stopTaking := context.WithCancel(context.WithoutCancel(ctx))
	beside.Go(func() { l.orders.run(taking) })
	defer stopTaking() // when the last connection has ended

	l.recall()
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
			l.log.Info("uplink connects anew: our network was away")
			continue
		}
		// the end was expected: of few notices, and three times each at most
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

// watchNetwork tells pause when the network may be back, until ctx is done.
func (l *Link) watchNetwork(ctx context.Context) {
	if l.opt.AwaitNetwork == nil {
		return
	}
	if err := l.opt.AwaitNetwork(ctx, l.network); err != nil && ctx.Err() == nil {
		l.log.Warn("the kernel does not tell when the network is back: attempts come by their own pace", "err", err)
	}
}

// pause waits for some time, or until ctx is done. Nobody else waits with an agent
// that is alone: it ends the wait when the network may be back.
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

// report reports an event; the details have to marshal.
func (l *Link) report(event string, details map[string]any) {
	if l.opt.Report == nil {
		return
	}
	text, err := json.Marshal(details)
	if err != nil {
		panic("uplink: event: " + err.Error()) // strings and truths always marshal
	}
	l.opt.Report(sensors.Event{Name: event, At: l.opt.Clock.Now(), Details: text})
}

// connect runs one session from CONNECT to its end. up is for how long the broker
// acknowledged what we sent; expected says that the session was to end, since a
// suspect went alone.
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
		conn.Close() // a failure of it says nothing that err does not
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

// mayBeRefused is what else a broker may close for that we send first.
func (o Options) mayBeRefused() string {
	if o.NoRetain {
		return ", or it takes no QoS 1"
	}
	return ", or it takes no QoS 1, or nothing that is retained (see mqtt.retain)"
}

// dropLate closes a connection that outlives ctx for too long: what the session
// publishes may block for as long as a broker that reads nothing keeps the
// link open. The session is over when over returns.
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
