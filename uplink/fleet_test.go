package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

const (
	agents    = 1000
	readEvery = 10 * time.Second // by each agent: 100 readings a second, and as many states
	handOn    = 2000             // messages a second that the broker hands to its one subscriber
)

// A hub is one broker for a fleet. It acknowledges what it gets after a round
// trip, whether its subscriber keeps up or not, as brokers do.
type hub struct {
	mu       sync.Mutex
	away     bool
	conns    map[*hubConn]bool
	connects []time.Time
	queued   float64 // for the subscriber
	handed   time.Time
	most     float64
}

type hubConn struct {
	hub       *hub
	heard     chan mqtt.Message
	echoes    mqtt.Echoes
	lost      chan struct{}
	once      sync.Once
	preferred chan struct{}
}

func (h *hub) dial(ctx context.Context, _ mqtt.Message) (Conn, error) {
	clock.Sleep(ctx, roundTrip)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return nil, refusedError
	}
	c := &hubConn{hub: h, heard: make(chan mqtt.Message, 4), lost: make(chan struct{}), preferred: make(chan struct{})}
	h.conns[c] = true
	h.connects = append(h.connects, time.Now())
	return c, nil
}

// leave ends every connection in order, and come takes new ones.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = true
	for c := range h.conns {
		c.once.Do(func() { close(c.lost) })
	}
	clear(h.conns)
}

func (h *hub) come() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away, h.connects, h.most = false, nil, 0
}

// after does something in a round trip, unless the connection is lost by then.
func (c *hubConn) after(do func()) mqtt.Token {
	t := &token{done: make(chan struct{})}
	time.AfterFunc(roundTrip, func() {
		c.hub.mu.Lock()
		if t.err = mqtt.ErrBrokerClosed; c.hub.conns[c] {
			t.err = nil
			do()
		}
		c.hub.mu.Unlock()
		close(t.done)
	})
	return t
}

func (c *hubConn) Publish(m mqtt.Message) mqtt.Token {
	m.Payload = slices.Clone(m.Payload)
	return c.after(func() {
		c.hub.takeLocked(m)
		if c.echoes.Hear(m.Topic, m.Payload) {
			return
		}
		select {
		case c.heard <- m:
		default: // of the topics subscribed to, the canary matters
		}
	})
}

func (h *hub) takeLocked(m mqtt.Message) {
	h.queued = max(0, h.queued-handOn*time.Since(h.handed).Seconds()) + 1
	h.handed, h.most = time.Now(), max(h.most, h.queued)
}

func (c *hubConn) Subscribe(string) mqtt.Token           { return c.after(func() {}) }
func (c *hubConn) Unsubscribe(string) mqtt.Token         { return c.after(func() {}) }
func (c *hubConn) Expect(m mqtt.Message) <-chan struct{} { return c.echoes.Expect(m) }
func (c *hubConn) Handle(string, func(mqtt.Message))     {}
func (c *hubConn) Received() <-chan mqtt.Message         { return c.heard }
func (c *hubConn) Preferred() <-chan struct{}            { return c.preferred }
func (c *hubConn) Server() string                        { return "broker.test:1883" }
func (c *hubConn) Facts() mqtt.Facts                     { return mqtt.Facts{} }
func (c *hubConn) Responds() bool                        { return false }
func (c *hubConn) Certificates() []mqtt.Certificate      { return nil }
func (c *hubConn) DisconnectWithWill()                   {}
func (c *hubConn) SubscribeLive(t string) mqtt.Token     { return c.Subscribe(t) }
func (c *hubConn) Disconnect()                           {}
func (c *hubConn) Err() error                            { return mqtt.ErrBrokerClosed }
func (c *hubConn) Done() <-chan struct{}                 { return c.lost }
func (c *hubConn) Enqueue(m mqtt.Message) mqtt.Token     { return c.Publish(m) }
func (c *hubConn) Flush()                                {}
func (c *hubConn) Await(t mqtt.Token) <-chan struct{}    { return t.Done() }
func (c *hubConn) Abandon()                              { c.Close() }

func (c *hubConn) Close() error {
	c.hub.mu.Lock()
	delete(c.hub.conns, c)
	c.hub.mu.Unlock()
	return nil
}

// perSecond is the most that happened in any second.
func perSecond(times []time.Time) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	for first, i := 0, 0; i < len(times); i++ {
		for times[i].Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// TestAFleetSparesItsBroker: a thousand agents that have slots of 20 s, whose broker
// is away for more than a minute; then for ten minutes, after which they have more to tell than
// the broker can hand on at once, so there they are told to go slowly. One
// reading a second each is the broker's rate by the number of agents, less what
// happens meanwhile.
func TestAFleetSparesItsBroker(t *testing.T) {
	if !proving {
		t.Skip("a thousand agents take a minute of the processor: build/prove runs it")
	}
	synctest.Test(t, func(t *testing.T) {
		h := &hub{conns: map[*hubConn]bool{}, handed: time.Now()}
		backlogs := make([]*queue.Queue, agents)
		dir, clock := inMemory(t), clock.NewTimekeeper(clock.TrustAlways)
		for i := range backlogs {
			var err error
			backlogs[i], err = queue.Open(queue.Options{Path: fmt.Sprintf("%s/%d/queue.db", dir, i), MaxSize: 1 << 20,
				SyncEvery: 24 * time.Hour, Clock: clock}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer backlogs[i].Close()
		}
		h.outage(t, backlogs, clock, 90*time.Second, Drain{})
		h.outage(t, backlogs, clock, 10*time.Minute, Drain{Rate: 1})
	})
}

// inMemory is a folder that is not on a disk, if there is such with room.
func inMemory(t *testing.T) string {
	var fs syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &fs) != nil || uint64(fs.Bavail)*uint64(fs.Bsize) < 256<<20 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "holdfast")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// outage runs a fleet whose broker is away for some time.
func (h *hub) outage(t *testing.T, backlogs []*queue.Queue, clock *clock.Timekeeper, away time.Duration, drain Drain) {
	ctx, stop := context.WithCancel(t.Context())
	var fleet sync.WaitGroup
	for i, q := range backlogs {
		startAgent(ctx, &fleet, h, i, q, clock, drain)
	}
	time.Sleep(stableSession + 10*time.Second)
	h.leave()
	time.Sleep(away)
	h.come()
	time.Sleep(150 * time.Second)
	h.mu.Lock()
	connects, queued, back := perSecond(h.connects), h.most, len(h.conns)
	h.mu.Unlock()
	stop()
	fleet.Wait()
	left := 0
	for _, q := range backlogs {
		left += q.Stats().Backlog
	}
	t.Logf("away for %v: %d of %d are back in %d attempts, at most %d in a second; at most %.0f messages queued; %d "+
		"readings left", away, back, agents, len(h.connects), connects, queued, left)
	if back != agents || connects > 50 || queued > 1000 || left > 0 {
		t.Error("want all back, at most 50 in a second, at most 1000 queued, none left")
	}
}

// startAgent starts a link with a queue, and reads something now and then.
func startAgent(ctx context.Context, fleet *sync.WaitGroup, h *hub, i int, q *queue.Queue, keeper *clock.Timekeeper,
	drain Drain) {
	opt := Options{Broker: mqtt.Broker{ClientID: fmt.Sprintf("agent-%d", i), Clock: keeper},
		Topics: payload.DefaultPatterns, Boot: q.Boot(), Drain: drain, Within: 20 * time.Second,
		Streams: []sensors.Stream{{Name: "room"}}}
	l := New(opt, q, h.dial, slog.New(slog.DiscardHandler))
	linked, unlink := context.WithCancel(context.Background())
	fleet.Go(func() { l.Run(linked) })
	fleet.Go(func() {
		clock.Sleep(ctx, time.Duration(rand.Int64N(int64(readEvery))))
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			r := sensors.Reading{Stream: "room", Seq: seq, Value: float64(seq), Unit: "%", At: keeper.Now()}
			l.Observe(r)
			q.Put(r)
			clock.Sleep(ctx, readEvery)
		}
		clock.Sleep(linked, time.Second) // for the last one
		unlink()
	})
}
