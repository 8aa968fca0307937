package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A broker is the other end of fake connections: whatever is published is
// acknowledged after a round trip, unless acksNothing is set. What it denies it
// acknowledges and drops.
type broker struct {
	mu              sync.Mutex
	got             []mqtt.Message
	retained        map[string]string
	conns           int
	wills           []mqtt.Message // of the connections
	refuse          error
	acksNothing     bool
	denies          bool
	unread          bool                    // subscriptions are refused
	secret          string                  // the subscription to it is refused
	forwardsNothing bool                    // subscriptions are granted, and nothing is forwarded
	orderly         int                     // disconnects that make the broker forget the will
	most            int                     // publications that were in flight at a time
	rate            float64                 // bytes a second each way; 0: the link carries anything
	way             time.Duration           // more than the 300 ms that it takes each way, if there is a rate
	noise           time.Duration           // at most so much more, at random, until an acknowledgement is heard
	carried         int                     // bytes to the broker
	closesFor       func(mqtt.Message) bool // ends the connection for such a message
	closesForTopic  func(topic string) bool // ends the connection for such a subscription
	eats            func(mqtt.Message) bool // the link loses such a message, and all behind it
	drops           func(mqtt.Message) bool // acknowledges such a message, and does not forward it
	late            bool                    // an UNSUBSCRIBE overtakes what is to be forwarded
	echoed          int                     // readings that were sent back to us
	resets          bool                    // by a reset
	acksFirst       bool                    // what it closes the connection for
	slowTokens      bool                    // the answer to SUBSCRIBE is told after what came behind it
	quick           time.Duration           // the round trip, instead of roundTrip
	each            time.Duration           // that the broker takes for a message, one after the other
	flushes         int                     // calls of Flush
	conn            *fakeConn

	live       []string // topics of which no retained messages are wanted
	disorderly int      // disconnects that ask for the will

	facts   mqtt.Facts                            // of the next connections
	refuses func(mqtt.Message) *mqtt.PublishError // in PUBACK, with MQTT 5; nil: it takes the message
	nobody  func(mqtt.Message) bool               // has subscribed to the topic of such a message
}

const roundTrip = 100 * time.Millisecond

// headers are a TCP packet's own, with timestamps.
const headers = 52

type fakeConn struct {
	b         *broker
	lost      chan struct{}
	once      sync.Once
	preferred chan struct{}
	heard     chan mqtt.Message
	echoes    mqtt.Echoes
	topics    map[string]bool
	handlers  map[string]func(mqtt.Message)
	facts     mqtt.Facts
	why       error // why it is lost, if the broker closed it
	hole      bool  // the link carries nothing any more
	flying    int
	up, down  time.Time     // when the link is free again
	last      chan struct{} // closed when the broker has dealt with the last message
}

var errEaten = errors.New("the link lost it")

type token struct {
	done    chan struct{}
	err     error
	unheard bool
}

func (t *token) Unheard() bool { return t.unheard }

func (t *token) Done() <-chan struct{} { return t.done }
func (t *token) Error() error          { return t.err }
func (t *token) Answered() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func (b *broker) dial(_ context.Context, will mqtt.Message) (Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns++
	b.wills = append(b.wills, will)
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.conn = &fakeConn{b: b, facts: b.facts, lost: make(chan struct{}), preferred: make(chan struct{}),
		heard: make(chan mqtt.Message, 64), topics: map[string]bool{}, handlers: map[string]func(mqtt.Message){}}
	return b.conn, nil
}

// later does something after a round trip, unless the connection is lost; do may say
// more about the answer in the token.
func (c *fakeConn) later(size int, do func(*token) error) *token {
	t := &token{done: make(chan struct{})}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	trip := c.tripOf(size)
	before := c.last
	c.last = t.done
	go func() {
		select {
		case <-time.After(trip):
			if before != nil {
				<-before
			}
			c.b.mu.Lock()
			silent := c.b.acksNothing
			switch {
			case isClosed(c.lost): // by what came before it
				t.err = errors.New("connection lost")
			case !silent:
				t.err = do(t)
			}
			silent = silent || errors.Is(t.err, errEaten)
			c.b.mu.Unlock()
			if silent {
				<-c.lost
				t.err = errors.New("connection lost")
			}
		case <-c.lost:
			t.err = errors.New("connection lost")
		}
		close(t.done)
	}()
	return t
}

// tripOf is how long a message and its acknowledgement take, behind all others.
func (c *fakeConn) tripOf(size int) time.Duration {
	switch {
	case c.b.each > 0:
		c.up = later(c.up, time.Now()).Add(c.b.each)
		return time.Until(c.up) + c.b.quick
	case c.b.rate == 0:
		return roundTrip
	}
	carry := func(free *time.Time, from time.Time, bytes int) time.Time {
		*free = later(*free, from).Add(time.Duration(float64(bytes) / c.b.rate * float64(time.Second)))
		return free.Add(300*time.Millisecond + c.b.way)
	}
	c.b.carried += size + headers
	there := carry(&c.up, time.Now(), size+headers)
	return time.Until(carry(&c.down, there, 4+headers)) + time.Duration(rand.Int64N(int64(c.b.noise)+1))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *fakeConn) Publish(m mqtt.Message) mqtt.Token {
	m.Payload = slices.Clone(m.Payload)
	c.b.set(func() {
		c.flying++
		c.b.most = max(c.b.most, c.flying)
	})
	return c.later(len(m.Topic)+len(m.Payload)+6, func(t *token) error {
		c.flying--
		if c.b.refuses != nil {
			if why := c.b.refuses(m); why != nil {
				return why
			}
		}
		t.unheard = c.b.nobody != nil && c.b.nobody(m)
		if c.b.closesFor != nil && c.b.closesFor(m) {
			c.why = mqtt.ErrBrokerClosed
			if c.b.resets {
				c.why = errPeerReset
			}
			if c.b.acksFirst {
				time.AfterFunc(time.Millisecond, func() { c.Close() })
				return nil
			}
			c.Close()
			return errors.New("connection lost")
		}
		if c.b.eats != nil && c.b.eats(m) {
			c.hole = true
		}
		if c.hole {
			return errEaten
		}
		if c.b.denies || c.b.drops != nil && c.b.drops(m) {
			return nil
		}
		c.b.got = append(c.b.got, m)
		if m.Retain {
			c.b.retained[m.Topic] = string(m.Payload)
		}
		if c.topics[m.Topic] && !c.b.forwardsNothing {
			c.forward(m)
		}
		return nil
	})
}

// forward sends a message back, as the mutex allows it.
func (c *fakeConn) forward(m mqtt.Message) {
	hear := func() {
		if c.echoes.Hear(m.Topic, m.Payload) {
			c.b.echoed++
			return
		}
		c.deliver(mqtt.Message{Topic: m.Topic, Payload: m.Payload})
	}
	if !c.b.late {
		hear()
		return
	}
	time.AfterFunc(roundTrip, func() {
		c.b.set(func() {
			if c.topics[m.Topic] {
				hear()
			}
		})
	})
}

// deliver passes a message to its handler, or to the session.
func (c *fakeConn) deliver(m mqtt.Message) {
	if f := c.handlers[m.Topic]; f != nil {
		f(m)
		return
	}
	select {
	case c.heard <- m:
	case <-c.lost: // and nobody hears any more
	}
}

func (c *fakeConn) Handle(topic string, f func(mqtt.Message)) { c.handlers[topic] = f }

func (c *fakeConn) Unsubscribe(topic string) mqtt.Token {
	return c.later(len(topic)+6-headers, func(*token) error { // likewise
		delete(c.topics, topic)
		return nil
	})
}

func (c *fakeConn) Expect(m mqtt.Message) <-chan struct{} {
	m.Payload = slices.Clone(m.Payload)
	return c.echoes.Expect(m)
}

func (c *fakeConn) SubscribeLive(topic string) mqtt.Token {
	c.b.set(func() { c.b.live = append(c.b.live, topic) })
	return c.Subscribe(topic)
}

func (c *fakeConn) Subscribe(topic string) mqtt.Token {
	t := c.subscribe(topic)
	if !c.b.slowTokens {
		return t
	}
	slow := &token{done: make(chan struct{})}
	go func() {
		<-t.Done()
		time.Sleep(roundTrip / 2)
		slow.err = t.Error()
		close(slow.done)
	}()
	return slow
}

func (c *fakeConn) subscribe(topic string) mqtt.Token {
	return c.later(len(topic)+7-headers, func(*token) error { // in the packet of what goes with it
		if c.hole {
			return errEaten
		}
		if c.b.closesForTopic != nil && c.b.closesForTopic(topic) {
			if c.why == nil {
				c.why = mqtt.ErrBrokerClosed
			}
			c.Close()
			return errors.New("connection lost")
		}
		if c.b.unread || topic == c.b.secret {
			return &mqtt.DeniedError{Topic: topic}
		}
		c.topics[topic] = true
		if kept := c.b.retained[topic]; kept != "" && !c.b.forwardsNothing {
			c.deliver(mqtt.Message{Topic: topic, Payload: []byte(kept), Retain: true})
		}
		return nil
	})
}

func (c *fakeConn) Received() <-chan mqtt.Message { return c.heard }
func (c *fakeConn) Responds() bool                { return false }
func (c *fakeConn) Preferred() <-chan struct{}    { return c.preferred }

func (c *fakeConn) Server() string                   { return "broker.example.com:1883" }
func (c *fakeConn) Facts() mqtt.Facts                { return c.facts }
func (c *fakeConn) Certificates() []mqtt.Certificate { return nil }
func (c *fakeConn) DisconnectWithWill()              { c.b.set(func() { c.b.disorderly++ }) }
func (c *fakeConn) Disconnect()                      { c.b.set(func() { c.b.orderly++ }) }
func (c *fakeConn) Err() error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.why != nil {
		return c.why
	}
	return errors.New("cut")
}

func (c *fakeConn) Done() <-chan struct{} { return c.lost }
func (c *fakeConn) Close() error          { c.once.Do(func() { close(c.lost) }); return nil }

func (c *fakeConn) Enqueue(m mqtt.Message) mqtt.Token  { return c.Publish(m) }
func (c *fakeConn) Flush()                             { c.b.set(func() { c.b.flushes++ }) }
func (c *fakeConn) Await(t mqtt.Token) <-chan struct{} { return t.Done() }

func (c *fakeConn) Abandon() { c.Close() }

func (b *broker) set(f func()) { b.mu.Lock(); defer b.mu.Unlock(); f() }

// kept is the retained message of a topic.
func (b *broker) kept(topic string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retained[topic]
}

// says makes the broker keep and forward a message of somebody else's.
func (b *broker) says(topic, payload string) {
	b.set(func() { b.retained[topic] = payload })
	b.sends(topic, payload)
}

// sends makes the broker forward a message of somebody else's.
func (b *broker) sends(topic, payload string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn.topics[topic] {
		b.conn.deliver(mqtt.Message{Topic: topic, Payload: []byte(payload)})
	}
}

// connections says how many were made.
func (b *broker) echoCount() int   { b.mu.Lock(); defer b.mu.Unlock(); return b.echoed }
func (b *broker) connections() int { b.mu.Lock(); defer b.mu.Unlock(); return b.conns }

func (b *broker) cut() { b.set(func() { b.conn.Close() }) }

// seqs are the sequence numbers that arrived on a topic.
func (b *broker) seqs(topic string) (seqs []uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		var p struct{ Seq uint64 }
		if m.Topic == topic {
			json.Unmarshal(m.Payload, &p)
			seqs = append(seqs, p.Seq)
		}
	}
	return seqs
}

// A backlog is a real queue.
type backlog struct {
	*queue.Queue
	torn atomic.Bool // messages that were set aside cannot be read
}

func (b *backlog) Rejected(c *queue.Cursor, max int) ([]queue.Item, error) {
	if b.torn.Load() {
		return nil, errors.New("the disk does not answer")
	}
	return b.Queue.Rejected(c, max)
}

func (b *backlog) put(r sensors.Reading) { b.Put(r) }

func (b *backlog) left() int { return b.Stats().Backlog }

func openBacklog(t *testing.T) *backlog {
	t.Helper()
	clock := clock.NewTimekeeper(clock.TrustAlways)
	q, err := queue.Open(queue.Options{Path: t.TempDir() + "/queue.db", MaxSize: 1 << 20, SyncEvery: 5 * time.Second,
		Clock: clock}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done; q.Close() })
	return &backlog{Queue: q}
}

// up runs a link in a synctest bubble and stops it at the end.
func up(t *testing.T, f func(l *Link, br *broker, bl *backlog), change ...func(*Options)) (*broker, string) {
	t.Helper()
	return upWith(t, &broker{}, f, change...)
}

// upWith is up with a broker that was prepared.
func upWith(t *testing.T, br *broker, f func(l *Link, br *broker, bl *backlog),
	change ...func(*Options)) (*broker, string) {
	t.Helper()
	br.retained = map[string]string{}
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		bl := openBacklog(t)
		opt := Options{Broker: mqtt.Broker{ClientID: "porch", Clock: clock.NewTimekeeper(clock.TrustAlways)},
			Report: bl.Report, Declare: bl.Declare, Stats: bl.Stats, Topics: payload.DefaultPatterns,
			Boot: "1-00000000", Version: "1.0", Hardware: "a board",
			Streams: []sensors.Stream{{Name: "room", Quantity: sensors.Quantity{Unit: "%"}}, {Name: "door"}}}
		for _, c := range change {
			c(&opt)
		}
		if opt.Boot == "" {
			opt.Boot = bl.Boot()
		}
		l := New(opt, bl, br.dial, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		f(l, br, bl)
		stop()
		<-done
	})
	return br, log.String()
}

func reading(stream string, seq uint64) sensors.Reading {
	return sensors.Reading{Stream: stream, Seq: seq, Value: float64(seq), Unit: "%",
		At: clock.NewTimekeeper(clock.TrustAlways).Now()}
}

func TestReadingsArriveInOrder(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		for seq := range uint64(50) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left", n)
		}
	})
	for i, seq := range br.seqs("porch/room") {
		if seq != uint64(i+1) {
			t.Fatalf("arrival %d is %d", i, seq)
		}
	}
}

func TestNothingIsAckedUnlessPublished(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.acksNothing = true })
		for seq := range uint64(50) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(time.Minute)
		if n := bl.left(); n != 50 {
			t.Errorf("%d of 50 readings left while the broker acknowledged nothing", n)
		}
		br.set(func() { br.acksNothing = false })
		time.Sleep(2 * time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left after the broker came back", n)
		}
	})
}

func TestBirthWillAndOffline(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		if got := br.kept("porch/agent/status"); got != "online" {
			t.Errorf("status %q", got)
		}
		want := `{"version":"1.0","boot":"1-00000000","hardware":"a board","drain":{"rate":0},"streams":{` +
			`"door":{"kind":"","unit":"","class":"","priority":"routine"},"room":{"kind":"","unit":"%","class":"",` +
			`"priority":"routine"}}}`
		if got := br.kept("porch/agent/info"); got != want {
			t.Errorf("info\ngot  %s\nwant %s", got, want)
		}
		if w := l.will(); w.Topic != "porch/agent/status" || string(w.Payload) != "offline" || !w.Retain {
			t.Errorf("will %+v", w)
		}
	})
	if got := br.kept("porch/agent/status"); got != "offline" {
		t.Errorf("status after the stop %q", got)
	}
}

func TestInFlightMessagesAreAckedBeforeOffline(t *testing.T) {
	var left *backlog
	up(t, func(l *Link, br *broker, bl *backlog) {
		left = bl
		time.Sleep(time.Second)
		bl.put(reading("room", 1))
		time.Sleep(50 * time.Millisecond) // in the middle of the round trip
	})
	if n := left.left(); n != 0 {
		t.Error("the reading in flight was published and not acknowledged")
	}
}

func TestStateIsAssertedOnEveryConnect(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		l.Observe(reading("room", 1))
		l.Observe(reading("door", 1))
		time.Sleep(time.Second)
		for range 3 {
			br.set(func() { clear(br.retained) }) // a broker that lost its retained messages
			br.cut()
			time.Sleep(5 * time.Second)
			for _, topic := range []string{"porch/agent/status", "porch/agent/info", "porch/room/state",
				"porch/door/state"} {
				if br.kept(topic) == "" {
					t.Fatalf("nothing retained on %s after a reconnect", topic)
				}
			}
		}
	})
}

func TestStateIsConflatedAndNeverGoesBack(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		for seq := range uint64(1000) {
			l.Observe(reading("room", seq+1))
			time.Sleep(10 * time.Millisecond)
			if seq%250 == 0 {
				br.cut()
			}
		}
		time.Sleep(5 * time.Second)
	})
	seqs := br.seqs("porch/room/state")
	if n := len(seqs); n < 20 || n > 120 {
		t.Errorf("%d states published in 10 s with a round trip of 100 ms", n)
	}
	for i := range seqs[1:] {
		if seqs[i+1] < seqs[i] {
			t.Fatalf("state %d was published after %d", seqs[i+1], seqs[i])
		}
	}
	if last := seqs[len(seqs)-1]; last != 1000 {
		t.Errorf("the last state is %d", last)
	}
}

func TestStreamWithoutAReadingGetsAnErrorState(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		l.Observe(reading("room", 1))
		time.Sleep(29 * time.Second)
		if br.kept("porch/door/state") != "" {
			t.Error("the door has a state without a reading")
		}
		time.Sleep(2 * time.Second)
		if got := br.kept("porch/door/state"); !strings.HasSuffix(got,
			`"seq":0,"value":null,"error":"no reading since start"}`) {
			t.Errorf("state of the silent door: %s", got)
		}
		if got := br.kept("porch/room/state"); !strings.Contains(got, `"value":1,`) {
			t.Errorf("state of the room: %s", got)
		}
	})
}

// Nanoseconds do not fit into an int on a Pi Zero: run with GOARCH=386, this
// test sees that.
func TestSilentStreamsGetErrorStatesInOrderOfTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := states{changed: make(chan struct{}, 1)}
		streams := []sensors.Stream{{Name: "slow", Every: time.Hour}, {Name: "door"},
			{Name: "room", Every: 30 * time.Second}}
		go s.watchSilence(t.Context(), streams, clock.NewTimekeeper(clock.TrustAlways))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := s.failing(); len(got) != 2 {
			t.Errorf("%d streams are told to be silent after two minutes, want door and room", len(got))
		}
	})
}

// TestOnlyOfflineSuppressesTheWill: dashboards must not show online while the
// agent tries to come back.
func TestOnlyOfflineSuppressesTheWill(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.acksNothing = true })
		bl.put(reading("room", 1))
		time.Sleep(time.Minute)
		br.set(func() {
			if br.orderly != 0 {
				t.Errorf("%d orderly disconnects from a broker that acknowledges nothing", br.orderly)
			}
			br.acksNothing = false
		})
		time.Sleep(2 * time.Minute)
	})
	if br.orderly != 1 {
		t.Errorf("%d orderly disconnects after \"offline\"", br.orderly)
	}
}

func TestRefusalIsLoggedOnce(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.refuse = &mqtt.RefusedError{Code: 5} })
		br.cut()
		time.Sleep(10 * time.Minute)
	})
	if n := strings.Count(log, "level=ERROR"); n != 1 || !strings.Contains(log, "mqtt.password_file") {
		t.Errorf("%d errors in the log:\n%s", n, log)
	}
	if br.conns > 40 {
		t.Errorf("%d attempts in 10 minutes", br.conns)
	}
}

func TestEveryRefusalHasAHint(t *testing.T) {
	for code := 1; code <= 255; code++ {
		if text := (&mqtt.RefusedError{Code: byte(code)}).Error(); !strings.Contains(text,
			fmt.Sprintf("code %d", code)) {
			t.Error(text)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
