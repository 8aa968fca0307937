package ingest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A sink records its batches, and fails as often as the test sets.
type sink struct {
	mu          sync.Mutex
	fails       int // guarded by mu, as all below
	stored      []int64
	batches     []int
	connections []store.Connection
}

func (s *sink) Commit(_ context.Context, batch []store.Item) (store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return store.Result{}, errors.New("the disk is full")
	}
	s.batches = append(s.batches, len(batch))
	for _, it := range batch {
		if r, ok := it.Message.(message.Reading); ok {
			s.stored = append(s.stored, r.Seq)
		}
	}
	return store.Result{}, nil
}

func (s *sink) Connected(_ context.Context, c store.Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections = append(s.connections, c)
	return nil
}

// numbers returns the stored numbers.
func (s *sink) numbers() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stored)
}

// A broker is the other end of one connection, in memory.
type broker struct {
	net.Conn
	r *bufio.Reader
}

// answer reads a packet of a type and writes an answer.
func (b *broker) answer(t *testing.T, kind byte, with []byte) {
	t.Helper()
	if got, _ := b.packet(t); got != kind {
		t.Fatalf("packet of type %d, want %d", got, kind)
	}
	if _, err := b.Write(with); err != nil {
		t.Error(err)
	}
}

// packet reads a packet.
func (b *broker) packet(t *testing.T) (kind byte, body []byte) {
	t.Helper()
	first, err := b.r.ReadByte()
	if err != nil {
		return 0, nil
	}
	n, err := binary.ReadUvarint(b.r)
	if err != nil {
		t.Fatal(err)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(b.r, body); err != nil {
		t.Fatal(err)
	}
	return first >> 4, body
}

// publish sends a reading with its number as the identifier.
func (b *broker) publish(t *testing.T, seq int) {
	t.Helper()
	payload := fmt.Sprintf(`{"ts":1,"boot":"1-a","seq":%d,"value":1}`, seq)
	body := append([]byte("\x00\x09porch/hum"), byte(seq>>8), byte(seq), 0)
	body = append(body, payload...)
	if _, err := b.Write(append(binary.AppendUvarint([]byte{0x32}, uint64(len(body))), body...)); err != nil {
		t.Error(err)
	}
}

// running starts Run with a broker in memory. It is called in a bubble of synctest.
func running(t *testing.T, s *sink, o Options) (connections chan *broker, stop func()) {
	t.Helper()
	connections = make(chan *broker)
	o.Log = slog.New(slog.DiscardHandler)
	o.Subscribe.Broker = mqtt.Broker{ClientID: "rec", KeepAlive: 10 * time.Second,
		Servers: []*url.URL{{Scheme: "mqtt", Host: "broker:1883"}},
		Network: func(ctx context.Context, _ string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			select {
			case connections <- &broker{theirs, bufio.NewReader(theirs)}:
				return ours, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o, s) }()
	return connections, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// accepted answers CONNECT and SUBSCRIBE. resumed: the broker has a session.
func accepted(t *testing.T, b *broker, resumed byte) *broker {
	t.Helper()
	b.answer(t, 1, []byte{0x20, 3, resumed, 0, 0})
	b.answer(t, 8, []byte{0x90, 5, 0, 1, 0, 1, 1})
	b.answer(t, 8, []byte{0x90, 4, 0, 2, 0, 0x87}) // the optional one is refused
	return b
}

func TestAcknowledgementsComeAfterCommitAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{fails: 3}
		connections, stop := running(t, s, Options{Size: 100, Time: time.Second})
		b := accepted(t, <-connections, 0)
		for seq := 1; seq <= 5; seq++ {
			b.publish(t, seq)
		}
		for seq := 1; seq <= 5; seq++ {
			kind, body := b.packet(t)
			for kind == 12 { // PINGREQ
				kind, body = b.packet(t)
			}
			if kind != 4 || int(binary.BigEndian.Uint16(body)) != seq {
				t.Fatalf("type %d % x, want the acknowledgement of %d", kind, body, seq)
			}
			if got := s.numbers(); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
				t.Fatalf("an acknowledgement came when %v was stored", got)
			}
		}
		go io.Copy(io.Discard, b.r)
		stop()
		b.Close()
		if c := s.connections; len(c) != 1 || !c[0].Fresh || !c[0].Started {
			t.Errorf("%+v", c)
		}
	})
}

// TestReadMessagesAreStoredIfTheBrokerDies: it may never send it again.
func TestReadMessagesAreStoredIfTheBrokerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		connections, stop := running(t, s, Options{Size: 100, Time: time.Second})
		b := accepted(t, <-connections, 0)
		b.publish(t, 1)
		b.publish(t, 2)
		b.Close()
		b = accepted(t, <-connections, 1)
		if got := s.numbers(); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("stored %v", got)
		}
		synctest.Wait()
		if c := s.connections; len(c) != 2 || c[1].Fresh || c[1].Started {
			t.Errorf("%+v", c)
		}
		go io.Copy(io.Discard, b.r)
		stop()
		b.Close()
	})
}

// TestBusyStoreBlocksTheReader: the number of waiting messages is bounded, and pings continue.
func TestBusyStoreBlocksTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{fails: 1 << 30}
		connections, stop := running(t, s, Options{Size: 10, Time: time.Millisecond})
		b := accepted(t, <-connections, 0)
		pings := make(chan struct{}, 1000)
		go func() {
			for {
				kind, _ := b.packet(t)
				if kind == 0 {
					return
				}
				if kind == 12 {
					pings <- struct{}{}
				}
			}
		}()
		sent := make(chan int)
		go func() {
			defer close(sent)
			for seq := 1; seq <= 5000; seq++ {
				b.publish(t, seq)
				sent <- seq
			}
		}()
		last := 0
		for end := time.After(5 * time.Minute); end != nil; {
			select {
			case last = <-sent:
			case <-end:
				end = nil
			}
		}
		// Two batches, and what fits into the buffer of the reader.
		if last > 2*10+64<<10/60 {
			t.Errorf("%d messages were taken while nothing is stored", last)
		}
		if len(pings) < 20 {
			t.Errorf("%d pings in five minutes", len(pings))
		}
		s.mu.Lock()
		s.fails = 0
		s.mu.Unlock()
		for range sent {
		}
		for len(s.numbers()) < 5000 {
			time.Sleep(time.Second)
		}
		if got := s.numbers(); got[0] != 1 || got[4999] != 5000 {
			t.Errorf("%d to %d", got[0], got[4999])
		}
		stop()
		b.Close()
	})
}

// TestPaceLearnsASmallWindow: a broker that sends 20 messages and waits for
// their acknowledgements must not wait for the age of a batch each time. A broker that sends more must
// not be mistaken for one.
func TestPaceLearnsASmallWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		connections, stop := running(t, s, Options{Size: 1000, Time: time.Second})
		b := accepted(t, <-connections, 0)
		const window, n = 20, 2000
		acked := make(chan struct{}, window)
		go func() {
			for {
				switch kind, _ := b.packet(t); kind {
				case 0:
					return
				case 4:
					acked <- struct{}{}
				}
			}
		}()
		began := time.Now()
		for seq := 1; seq <= n; seq++ {
			if seq > window {
				<-acked
			}
			b.publish(t, seq)
		}
		for range window {
			<-acked
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%d readings in windows of %d took %v", n, window, took)
		}
		// Ten readings a second: one commit a second.
		s.mu.Lock()
		s.batches = nil
		s.mu.Unlock()
		for seq := n + 1; seq <= n+100; seq++ {
			b.publish(t, seq)
			time.Sleep(100 * time.Millisecond)
			for len(acked) > 0 {
				<-acked
			}
		}
		time.Sleep(2 * time.Second)
		s.mu.Lock()
		if len(s.batches) > 15 {
			t.Errorf("%d commits of 100 readings in ten seconds: %v", len(s.batches), s.batches)
		}
		s.mu.Unlock()
		go func() {
			for range acked {
			}
		}()
		stop()
		b.Close()
		close(acked)
	})
}

// TestBrokerWithoutMQTT5IsTriedWith311: some refuse the version, some close.
func TestBrokerWithoutMQTT5IsTriedWith311(t *testing.T) {
	for name, refusal := range map[string][]byte{"code of 3.1.1": {0x20, 2, 0, 1}, "code of 5": {0x20, 3, 0, 0x84, 0},
		"closed": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sink{}
				connections, stop := running(t, s, Options{Size: 100, Time: time.Millisecond})
				b := <-connections
				if kind, body := b.packet(t); kind != 1 || body[6] != 5 {
					t.Errorf("type %d % x", kind, body)
				}
				if refusal != nil {
					b.Write(refusal)
				}
				b.Close()
				b = <-connections
				if kind, body := b.packet(t); kind != 1 || body[6] != 4 || body[7]&2 != 0 {
					t.Errorf("type %d % x", kind, body)
				}
				b.Write([]byte{0x20, 2, 1, 0}) // the session is there
				b.answer(t, 8, []byte{0x90, 4, 0, 1, 1, 1})
				b.answer(t, 8, []byte{0x90, 3, 0, 2, 1})
				b.Write([]byte("\x32\x0d\x00\x09porch/hum\x00\x077"[:15])) // without properties
				if kind, body := b.packet(t); kind != 4 || body[1] != 7 {
					t.Errorf("type %d % x", kind, body)
				}
				go io.Copy(io.Discard, b.r)
				stop()
				b.Close()
			})
		})
	}
}

func TestRefusedSubscriptionEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		connections, stop := running(t, s, Options{Size: 100, Time: time.Millisecond})
		b := <-connections
		b.answer(t, 1, []byte{0x20, 3, 0, 0, 0})
		b.answer(t, 8, []byte{0x90, 5, 0, 1, 0, 1, 0x87})
		if kind, _ := b.packet(t); kind != 0 {
			t.Errorf("type %d after a refusal", kind)
		}
		b.Close()
		// It tries again, since the access list may be corrected, after pauses that grow.
		var last time.Duration
		for range 5 {
			began := time.Now()
			b = <-connections
			last = time.Since(began)
			b.answer(t, 1, []byte{0x20, 3, 0, 0, 0})
			b.answer(t, 8, []byte{0x90, 5, 0, 1, 0, 1, 0x87})
			b.Close()
		}
		if last < time.Second {
			t.Errorf("the pause after six refusals is %v", last)
		}
		b = <-connections
		go io.Copy(io.Discard, b.r)
		go stop()
		b.Close()
		for len(connections) > 0 {
			(<-connections).Close()
		}
	})
}
