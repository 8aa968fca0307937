package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// A broker is the other end of fake connections. Each publication takes a
// round trip; while deaf, it is lost with the connection.
type broker struct {
	mu       sync.Mutex
	got      []Message
	retained map[string]string
	conns    int
	refuse   error
	deaf     bool
	orderly  int // disconnects that make the broker forget the will
	conn     *fakeConn
}

type fakeConn struct {
	b    *broker
	lost chan struct{}
	once sync.Once
}

func (b *broker) dial(_ context.Context, will Message) (Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns++
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.conn = &fakeConn{b: b, lost: make(chan struct{})}
	return b.conn, nil
}

func (c *fakeConn) Publish(ctx context.Context, msgs ...Message) error {
	select {
	case <-time.After(100 * time.Millisecond): // the round trip
	case <-c.lost:
		return errors.New("connection lost")
	case <-ctx.Done():
		return ctx.Err()
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.b.deaf {
		return errors.New("connection lost")
	}
	for _, m := range msgs {
		c.b.got = append(c.b.got, m)
		if m.Retain {
			c.b.retained[m.Topic] = string(m.Payload)
		}
	}
	return nil
}

func (c *fakeConn) Disconnect()           { c.b.set(func() { c.b.orderly++ }) }
func (c *fakeConn) Err() error            { return errors.New("cut") }
func (c *fakeConn) Done() <-chan struct{} { return c.lost }
func (c *fakeConn) Close() error          { c.once.Do(func() { close(c.lost) }); return nil }

func (b *broker) set(f func()) { b.mu.Lock(); defer b.mu.Unlock(); f() }

// kept is the retained message of a topic.
func (b *broker) kept(topic string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retained[topic]
}

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

// A backlog is a slice.
type backlog struct {
	mu    sync.Mutex
	items []queue.Item
	acked int
	news  chan struct{}
}

func (b *backlog) put(r sensors.Reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, queue.Item{Reading: r, Boot: "1-00000000"})
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *backlog) Next(ctx context.Context, max int) ([]queue.Item, error) {
	for {
		b.mu.Lock()
		rest := b.items[b.acked:]
		b.mu.Unlock()
		if len(rest) > 0 {
			return rest[:min(max, len(rest))], nil
		}
		select {
		case <-b.news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *backlog) Ack(items []queue.Item) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked += len(items)
	return nil
}

func (b *backlog) left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) - b.acked
}

// up runs a link in a synctest bubble and stops it at the end.
func up(t *testing.T, f func(l *Link, br *broker, bl *backlog)) (*broker, string) {
	t.Helper()
	br := &broker{retained: map[string]string{}}
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		bl := &backlog{news: make(chan struct{}, 1)}
		opt := Options{ClientID: "porch", Topics: DefaultTopics, Boot: "1-00000000", Version: "1.0", Hardware: "a board",
			Clock:   sensors.NewTimekeeper(sensors.TrustAlways),
			Streams: []sensors.Stream{{Name: "room", Quantity: sensors.Quantity{Unit: "%"}}, {Name: "door"}}}
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
	return sensors.Reading{Stream: stream, Seq: seq, Value: float64(seq), Unit: "%", At: sensors.NewTimekeeper(sensors.TrustAlways).Now()}
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
		br.set(func() { br.deaf = true })
		for seq := range uint64(50) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(time.Minute)
		if n := bl.left(); n != 50 {
			t.Errorf("%d of 50 readings left while the broker was deaf", n)
		}
		br.set(func() { br.deaf = false })
		time.Sleep(2 * time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left after the broker came back", n)
		}
	})
}

func TestBirthWillAndGoodbye(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		if got := br.kept("porch/agent/status"); got != "online" {
			t.Errorf("status %q", got)
		}
		want := `{"version":"1.0","boot":"1-00000000","hardware":"a board","streams":{` +
			`"door":{"kind":"","unit":"","class":"","priority":"routine"},"room":{"kind":"","unit":"%","class":"","priority":"routine"}}}`
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

func TestWhatIsInFlightIsAckedBeforeGoodbye(t *testing.T) {
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
			for _, topic := range []string{"porch/agent/status", "porch/agent/info", "porch/room/state", "porch/door/state"} {
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

func TestSilentStreamSaysSo(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		l.Observe(reading("room", 1))
		time.Sleep(29 * time.Second)
		if br.kept("porch/door/state") != "" {
			t.Error("the door has a state without a reading")
		}
		time.Sleep(2 * time.Second)
		if got := br.kept("porch/door/state"); !strings.HasSuffix(got, `"seq":0,"value":null,"error":"no reading since start"}`) {
			t.Errorf("state of the silent door: %s", got)
		}
		if got := br.kept("porch/room/state"); !strings.Contains(got, `"value":1,`) {
			t.Errorf("state of the room: %s", got)
		}
	})
}

// Nanoseconds do not fit into an int on a Pi Zero: run with GOARCH=386, this
// test sees that.
func TestSilenceIsToldInTheOrderOfPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := states{changed: make(chan struct{}, 1)}
		streams := []sensors.Stream{{Name: "slow", Every: time.Hour}, {Name: "door"}, {Name: "room", Every: 30 * time.Second}}
		go s.watchSilence(t.Context(), streams, sensors.NewTimekeeper(sensors.TrustAlways))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := s.all(); len(got) != 2 {
			t.Errorf("%d streams are told to be silent after two minutes, want door and room", len(got))
		}
	})
}

// TestOnlyAGoodbyeSuppressesTheWill: dashboards must not show online while the
// agent tries to come back.
func TestOnlyAGoodbyeSuppressesTheWill(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.deaf = true })
		bl.put(reading("room", 1))
		time.Sleep(time.Minute)
		br.set(func() {
			if br.orderly != 0 {
				t.Errorf("%d orderly disconnects from a broker that acknowledges nothing", br.orderly)
			}
			br.deaf = false
		})
		time.Sleep(2 * time.Minute)
	})
	if br.orderly != 1 {
		t.Errorf("%d orderly disconnects after a goodbye", br.orderly)
	}
}

func TestRefusalIsAnErrorSaidOnce(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.refuse = &RefusedError{5} })
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

func TestBackoffDoublesWithJitter(t *testing.T) {
	var b backoff
	bound, longest := time.Second, time.Duration(0)
	for range 10 {
		d := b.after(errors.New("no route to host"))
		if d > bound {
			t.Errorf("waited %v, bound %v", d, bound)
		}
		bound, longest = min(2*bound, time.Minute), max(longest, d)
	}
	if longest < 2*time.Second {
		t.Errorf("the longest of ten waits is %v", longest)
	}
	b.reset()
	if d := b.after(errors.New("reset by peer")); d > time.Second {
		t.Errorf("first wait after a good session is %v", d)
	}
}

func TestEveryRefusalSaysWhatToDo(t *testing.T) {
	for code := byte(1); code <= 6; code++ {
		if text := (&RefusedError{code}).Error(); !strings.Contains(text, fmt.Sprintf("code %d", code)) {
			t.Error(text)
		}
	}
}
